// Checks the prose of the README and the docs: sentence and line length, and links to files and headings of this repository.
// Tables, code, formulas and pages made from code have no sentences to check; the links of those pages are checked all the same.
import {existsSync, readFileSync, readdirSync, statSync} from 'node:fs';
import path from 'node:path';

import {headingSlug} from './heading-slug.js';

const root = path.resolve(import.meta.dirname, '..');
const longestSentence = 25;
const longestLine = 100;
const generated = ['docs/commands.md', 'docs/config.md', 'docs/operators.md'];
const written = ['README.md', 'CONTRIBUTING.md', ...pages('docs'), ...pages('examples')].filter(
  (file) => !generated.includes(file),
);
const problems = [...written.flatMap(prose), ...[...written, ...generated, 'CHANGELOG.md'].flatMap(links)];

if (written.length < 10) problems.push(`only ${written.length} pages were found`);
for (const problem of problems) console.error(problem);
if (problems.length > 0) process.exitCode = 1;

/** The Markdown files of a folder and its subfolders. */
function pages(folder) {
  return readdirSync(path.join(root, folder), {recursive: true})
    .filter((file) => file.endsWith('.md') && !file.includes('node_modules'))
    .map((file) => `${folder}/${file.replaceAll('\\', '/')}`)
    .sort();
}

/** The page's lines, with everything but prose blanked so that line numbers stay. */
function proseLines(file) {
  const blank = (text) => text.replace(/[^\n]/g, '');
  return read(file)
    .replace(/^( *)(```|~~~)[^]*?^\1\2$/gm, blank)
    .replace(/\$\$[^]*?\$\$/g, blank)
    .replace(/^ *(\||<).*$/gm, '')
    .split('\n');
}

function prose(file) {
  const lines = proseLines(file);
  const long = lines.flatMap((line, index) =>
    line.length > longestLine && breakable(line)
      ? [`${file}:${index + 1}: ${line.length} characters in a line, ${longestLine} are allowed`]
      : [],
  );
  return [
    ...long,
    ...paragraphs(lines).flatMap(({line, text}) =>
      sentences(text)
        .filter((sentence) => words(sentence) > longestSentence)
        .map(
          (sentence) =>
            `${file}:${line}: ${words(sentence)} words in a sentence, ${longestSentence} are allowed: "${sentence.slice(0, 60)}…"`,
        ),
    ),
  ];
}

/** Whether a line can be broken before the limit: not inside code, a formula, or behind its only word. */
function breakable(line) {
  const solid = line.trim().replace(/`[^`]*`|\$[^$]*\$/g, (part) => part.replaceAll(' ', '_'));
  return solid.replace(/^([-*]|\d+\.) /, '').includes(' ');
}

/** Paragraphs and list items, each on one line, with the number of its first line. */
function paragraphs(lines) {
  const found = [];
  let open = false;
  lines.forEach((line, index) => {
    if (line.trim() === '' || line.startsWith('#')) open = false;
    else if (open && !/^\s*([-*]|\d+\.)\s/.test(line)) found.at(-1).text += ` ${line.trim()}`;
    else {
      found.push({line: index + 1, text: line.trim().replace(/^([-*]|\d+\.)\s+/, '')});
      open = true;
    }
  });
  return found;
}

function sentences(text) {
  return text
    .replace(/`[^`]*`|\$[^$]*\$/g, 'code')
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, '$1')
    .split(/(?<=[.?!][*_)"]*)\s+(?=\S)/)
    .filter((sentence) => sentence.trim() !== '');
}

function words(sentence) {
  return sentence.split(/\s+/).filter((word) => /[\p{L}\p{N}]/u.test(word)).length;
}

/** Relative links whose file is missing, and anchors without a heading. */
function links(file) {
  const text = read(file)
    .replace(/^( *)```[^]*?^\1```$/gm, '')
    .replace(/`[^`\n]*`/g, '');
  const targets = [...text.matchAll(/\]\(([^)\s]+)\)|\b(?:src|href|srcset)="([^"]+)"/g)].map(
    (match) => match[1] ?? match[2],
  );
  return targets
    .filter((target) => !/^[a-z]+:/.test(target))
    .flatMap((target) => {
      const [relative, anchor] = target.split('#');
      const found = relative === '' ? path.join(root, file) : path.join(root, path.dirname(file), relative);
      if (!existsSync(found)) return [`${file}: the link "${target}" leads to no file`];
      if (anchor === undefined) return [];
      const named = statSync(found).isFile() && headings(found).has(anchor);
      return named ? [] : [`${file}: the link "${target}" leads to no heading`];
    });
}

/** The anchors that GitHub gives the headings of a page. */
function headings(page) {
  const text = readFileSync(page, 'utf8').replace(/^```[^]*?^```$/gm, '');
  const seen = new Map();
  return new Set(
    [...text.matchAll(/^#{1,6} (.*)$/gm)].map(([, heading]) => {
      const slug = headingSlug(heading);
      const times = seen.get(slug) ?? 0;
      seen.set(slug, times + 1);
      return times === 0 ? slug : `${slug}-${times}`;
    }),
  );
}

function read(file) {
  return readFileSync(path.join(root, file), 'utf8');
}
