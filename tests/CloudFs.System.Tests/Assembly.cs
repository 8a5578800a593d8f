using Xunit;

// One test at a time: they kill processes, measure time, and fill the machine by themselves.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
