using CloudFs.Daemon.Hosting;

return await DaemonMain.RunAsync(args);
