using CloudFs.Replicator.Hosting;

return await ReplicatorMain.RunAsync(args);
