using BenchmarkDotNet.Running;
using CloudFs.Micro;

// All of them, unless a filter says which.
string[] words = args.Length > 0 ? args : ["--filter", "*"];
var summaries = BenchmarkSwitcher.FromAssembly(typeof(MicroConfig).Assembly).Run(words, new MicroConfig());
return summaries.Any() && summaries.All(summary => summary.Reports.All(report => report.Success)) ? 0 : 1;
