"""How long students take: any files and backends, each in a process of its own, in turns.

    contenders   which files, on which backends, and what each is compared with
    scenes       what they are shown: whole frames, so many people, batches of crops
    suite        everything that was asked for, one group of runs after the other, into a file of runs
    turns        the rounds of a group
    crew         the workers that can work;  process: one of them, seen from here;  worker, loaded: inside it
    figures      percentiles, ratios and their intervals
    record       a run as a line of docs/runs.md;  table: runs as Markdown
    self_check   whether all that can be believed

Nothing is imported here: a worker's cold start counts what it imports.
"""
