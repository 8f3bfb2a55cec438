"""`method check`: whether a method is fit for the bench, before days are spent on it.

cohort    a small, balanced part of the synthetic set, with five folds
probe     one training in a process of its own: as it is, or with something changed
watch     that process under a deadline, and its end with all that it has started
verdicts  what each of the checks says of the probes
checkup   which probes there are, in which order
"""
