// Preloaded into a process: at its end stderr gets the packages it loaded, a line `loaded: NAME` each, and its processor time.
process.on('exit', () => {
  const {user, system} = process.cpuUsage();
  const names = Object.keys(require.cache).flatMap(
    (file) => file.match(/node_modules\/((?:@[^/]+\/)?[^/]+)\//)?.[1] ?? [],
  );
  for (const name of new Set(names)) process.stderr.write(`loaded: ${name}\n`);
  process.stderr.write(`milliseconds: ${(user + system) / 1000}\n`);
});
