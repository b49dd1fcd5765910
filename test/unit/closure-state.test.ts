/** The ESLint rule `house/closure-state`. */
import {describe, test} from '@jest/globals';
import {RuleTester} from 'eslint';

import {closureState} from '../../scripts/eslint-closure-state.js';

RuleTester.describe = describe;
RuleTester.it = test;

const counters = (count: number, kind = 'let'): string => {
  const names = Array.from({length: count}, (_, i) => `v${i}`);
  return `${names.map((name) => `${kind} ${name} = [];`).join(' ')} const add = () => { ${names.map((name) => `${name}.push(1);`).join(' ')} };`;
};

new RuleTester().run('closure-state', closureState, {
  valid: [
    {name: 'three shared variables', code: `function f() { ${counters(3)} }`},
    {name: 'four that are never assigned', code: `function f() { ${counters(4, 'const')} }`},
    {
      name: 'four of its own, shared with nobody',
      code: 'function f() { let a = 1, b = 2, c = 3, d = 4; return a + b + c + d; }',
    },
    {name: 'three in each of two functions', code: `function f() { ${counters(3)} } function g() { ${counters(3)} }`},
    {
      name: 'as many fields of a class',
      code: 'class A { #a = 1; #b = 2; #c = 3; #d = 4; sum() { return this.#a + this.#b + this.#c + this.#d; } }',
    },
  ],
  invalid: [
    {
      name: 'four shared variables, which the message names',
      code: `function f() { ${counters(4)} }`,
      errors: [
        {
          message: 'Inner functions share 4 variables (v0, v1, v2, v3); at most 3. Make it a class.',
        },
      ],
    },
    {
      name: 'in a block of the function',
      code: `const f = () => { if (true) { ${counters(4)} } };`,
      errors: [{messageId: 'tooMany'}],
    },
    {
      name: 'shared by different inner functions',
      code: 'function f() { let a = 0, b = 0, c = 0, d = 0; return {one() { a++; b++; }, two: () => c + d}; }',
      errors: [{messageId: 'tooMany'}],
    },
    {name: 'of a module', code: counters(4), errors: [{messageId: 'tooMany'}]},
  ],
});
