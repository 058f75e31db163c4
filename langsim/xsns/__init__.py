"""Part III, X-SNS: which source language to fine-tune on, told from sub-networks and judged by gold transfer.

settings      the section `xsns` of a profile          labelled        its tasks
heads         an encoder with a task's head            encoding        examples as batches for it
transfer      gold: fine-tune on a source, score targets
subnetworks   Fisher vectors of text, masks, Jaccard   nulls           what has learnt nothing
predictors    X-SNS and the baselines as matrices      ranking_study   how well they rank; is a task testable
procedures    the cells of all of it                   recommend       the use of it all
evidence      what all pages read                      setting         what a page says first; what a task can tell
tables        Tables 1, 2 and 4                        fits            Table 3
choices       Figures 1, 5 and 7                       sensitivity     Figures 3 and 6
mixtures      Figure 4                                 steps           Figure 2
instrument    does a sub-network know its language     statements      the paper's, decided
elsewhere     other profiles' results                  suggestions     a recommendation beside its gold scores
"""
