"""The labelled tasks behind one interface: examples, labels, splits, metric, head. No model code."""
