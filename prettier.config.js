/** @type {import('prettier').Config} */
export default {
  bracketSpacing: false,
  printWidth: 120,
  singleQuote: true,
};
