"""The commands of `langsim`, by what they are about. `langsim.cli` puts them together."""
