"""Part III, X-SNS: which source language to fine-tune on, told from sub-networks and judged by gold transfer.

settings      the section `xsns` of a profile          labelled        its tasks
heads         an encoder with a task's head            encoding        examples as batches for it
transfer      gold: fine-tune on a source, score targets
subnetworks   Fisher vectors of text, masks, Jaccard   nulls           what has learnt nothing
predictors    X-SNS and the baselines as matrices      ranking_study   how well they rank; is a task testable
procedures    the cells of all of it                   recommend       the use of it all
"""
