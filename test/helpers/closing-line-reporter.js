/** Prints one plain closing line, `N passed, N failed, N skipped`, and the reason of every skipped test: its name. */
export default class ClosingLineReporter {
  onRunComplete(_, results) {
    const skipped = results.testResults.flatMap(({testResults}) =>
      testResults.filter(({status}) => status === 'pending').map(({fullName}) => fullName),
    );
    for (const name of skipped) process.stdout.write(`skipped: ${name}\n`);
    const {numPassedTests, numFailedTests, numFailedTestSuites} = results;
    const failed = Math.max(numFailedTests, numFailedTestSuites);
    process.stdout.write(`${numPassedTests} passed, ${failed} failed, ${skipped.length} skipped\n`);
  }
}
