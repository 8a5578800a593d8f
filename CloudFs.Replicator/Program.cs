using CloudFs.Replicator;

return ReplicatorMain.Run(args, Console.Out, Console.Error);
