// Preloaded into a process: at its end, stderr gets the packages it loaded, one line `loaded: NAME` each.
process.on('exit', () => {
  const names = Object.keys(require.cache).flatMap(
    (file) => file.match(/node_modules\/((?:@[^/]+\/)?[^/]+)\//)?.[1] ?? [],
  );
  for (const name of new Set(names)) process.stderr.write(`loaded: ${name}\n`);
});
