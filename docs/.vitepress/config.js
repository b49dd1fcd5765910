// The site made from README.md, docs/ and the pages of examples/: `npm run docs:build` writes it to site/ and refuses dead links.
// The pages stay as GitHub shows them; what the site needs differently is changed here, while they are read.
import {cpSync, existsSync, statSync} from 'node:fs';
import path from 'node:path';

import {katex} from '@mdit/plugin-katex';
import {defineConfig} from 'vitepress';

import {headingSlug} from '../../scripts/heading-slug.js';

const root = path.resolve(import.meta.dirname, '../..');
const pages = (...names) => names.map(([text, link]) => ({text, link: `/${link}`}));

export default defineConfig({
  title: 'sdq',
  description: 'Finds how many bits each layer of a network needs, and trains it at those bits.',
  srcDir: '..',
  srcExclude: ['node_modules/**', 'test/**', 'bench/**', 'site/**', 'quickstart/**', 'my-job/**', 'dist/**'],
  outDir: '../site',
  cacheDir: '../node_modules/.cache/vitepress',
  rewrites: (page) => page.replace(/(^|\/)README\.md$/, '$1index.md'),
  metaChunk: true,
  themeConfig: {
    search: {provider: 'local'},
    outline: [2, 3],
    sidebar: [
      {
        text: 'Tutorials',
        items: pages(
          ['All pages', 'docs/'],
          ['First run', 'docs/first-run'],
          ['Two complete logs', 'docs/walkthrough'],
          ['Your own images', 'examples/own-images/'],
          ['A PyTorch network to a device', 'docs/pytorch-to-device'],
          ['ResNet20 on CIFAR-10', 'examples/cifar10-resnet20/'],
          ['A sweep', 'docs/first-sweep'],
          ['Your own table', 'examples/own-table/'],
          ['A plugin', 'examples/plugin-example/'],
          ['Objects in photographs', 'examples/detection/'],
        ),
      },
      {
        text: 'How to',
        items: pages(
          ['Use data', 'docs/data'],
          ['Detect objects', 'docs/detection'],
          ['Import ONNX', 'docs/import'],
          ['Work with PyTorch', 'docs/pytorch'],
          ['Export and verify', 'docs/export'],
          ['Fit a device', 'docs/hardware'],
          ['Read a report', 'docs/report'],
          ['Track runs', 'docs/tracking'],
          ['Draw dashboards', 'examples/dashboards/'],
          ['Sweep', 'docs/sweeps'],
          ['Use the sweep files', 'examples/sweep/'],
          ['Run on a cluster', 'examples/scale-out/'],
          ['Run in CI', 'examples/ci/'],
          ['Write a plugin', 'docs/plugins'],
        ),
      },
      {
        text: 'Reference',
        items: pages(
          ['Commands', 'docs/commands'],
          ['Config', 'docs/config'],
          ['Files and exit codes', 'docs/files'],
          ['Metrics', 'docs/metrics'],
          ['Trackers and Python clients', 'docs/tracking-parity'],
          ['Operators', 'docs/operators'],
          ['Strategy formats', 'docs/strategy-formats'],
          ['Plugin kinds', 'docs/plugin-kinds'],
        ),
      },
      {
        text: 'Explanation',
        items: pages(
          ['Method', 'docs/method'],
          ['Quantizers', 'docs/quantizers'],
          ['Budgets', 'docs/budgets'],
          ['Cost models', 'docs/cost-models'],
          ['Measured times', 'docs/measured-times'],
          ['Engines and speed', 'docs/engine'],
          ['Search methods side by side', 'docs/frontier'],
          ['Reproduction', 'docs/reproduction'],
          ['Reproduction on other networks', 'docs/reproduction-more'],
          ['Tuning', 'docs/tuning'],
          ['Architecture', 'docs/architecture'],
        ),
      },
      {text: 'Project', items: pages(['Contributing', 'CONTRIBUTING'], ['Changelog', 'CHANGELOG'])},
    ],
  },
  markdown: {
    anchor: {slugify: headingSlug},
    config(md) {
      // MathML: browsers draw it without fonts or style sheets. Vue must not look into it.
      md.use(katex, {
        output: 'mathml',
        logger: () => 'ignore',
        transformer: (content) => content.replace(/^<span|^<p/, '$& v-pre'),
      });
      md.core.ruler.push('sdq-links', ({env, tokens}) => {
        const folder = path.dirname(env.path);
        for (const token of tokens.flatMap((block) => [block, ...(block.children ?? [])])) {
          if (token.type === 'link_open') token.attrSet('href', siteLink(folder, token.attrGet('href') ?? ''));
          // Vite takes care of images whose path begins with a dot.
          if (token.type.startsWith('html_'))
            token.content = token.content.replaceAll(/ src="(?![a-z]+:|[./])/g, ' src="./');
        }
      });
    },
  },
  // Files beside the pages of examples, which those link to.
  buildEnd({outDir, pages: built, site}) {
    const listed = site.themeConfig.sidebar
      .flatMap(({items}) => items)
      .map(({link}) => link.slice(1).replace(/\/$/, '/README'));
    const missing = built
      .map((page) => page.replace(/\.md$/, ''))
      .filter((page) => page !== 'README' && !listed.includes(page));
    if (missing.length > 0) throw new Error(`The sidebar of docs/.vitepress/config.js lacks ${missing.join(', ')}.`);
    const isExample = (file) => !file.endsWith('.md');
    cpSync(path.join(root, 'examples'), path.join(outDir, 'examples'), {recursive: true, filter: isExample});
  },
});

/** Links to a folder go to its page, those to `README.md` to the index that the site makes of it. */
function siteLink(folder, href) {
  if (/^([a-z]+:|#)/.test(href)) return href;
  const [file, anchor] = href.split('#');
  const target = path.join(folder, file);
  const isFolder = existsSync(target) && statSync(target).isDirectory();
  const page = isFolder ? `${file.replace(/\/$/, '')}/index.md` : file.replace(/README\.md$/, 'index.md');
  return anchor === undefined ? page : `${page}#${anchor}`;
}
