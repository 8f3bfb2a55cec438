"""`method check`: test a method on a small dataset before an expensive training.

check     the probes in order, and their judgement
probe     one short training in a separate process: unchanged, or with one thing changed
verdicts  the checks, each a judgement of the probes
"""
