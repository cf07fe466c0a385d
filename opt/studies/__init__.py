"""Many runs: sweeps, planned runs, workers, a process each, clusters.

What is asked has these forms, from what a user types to what a process does:

CommandLine     opt.flags.command_line   the words of one command, taken apart before its options are known
SweepSetting    opt.studies.sweep        a problem, an algorithm and their options, without a seed
PlannedRun      opt.studies.planned_run  one run as plain data: problem, SearchRequest, where its directory goes
SearchRequest   opt.execution.request    how a problem is searched: algorithm, parameters, seed, budget
Workers         opt.studies.study_run    what carries out a study's runs: processes here, a scheduler, batch jobs
WorkerContext   opt.studies.parallel     what a worker is told beside its run: limits, the folder for notes
JobOptions      opt.flags.job_options    what one job of a batch system is given
"""
