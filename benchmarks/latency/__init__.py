"""How long students take: any files and backends, each in a process of its own, in turns.

    contenders   which files, on which backends, and what each is compared with
    scenes       what they are shown: whole frames, so many people, batches of crops
    suite        everything that was asked for, one group of runs after the other, into a file of runs
    turns        the rounds of a group
    process      a worker seen from here;  worker, loaded, torch_network: inside it
    figures      percentiles, ratios and their intervals
    record       a run as a line of docs/runs.md;  table: runs as Markdown

Nothing is imported here: a worker's cold start counts what it imports.
"""
