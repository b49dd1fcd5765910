import {existsSync, mkdirSync, mkdtempSync, symlinkSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {describe, expect, test} from '@jest/globals';
import sharp from 'sharp';

import {openBatches} from '../../../../src/data/batches.ts';
import type {Dataset, Split} from '../../../../src/data/dataset.ts';
import {pathAt} from '../../../../src/data/path-list.ts';
import {boxes} from '../../../../src/plugins/datasets/boxes.ts';
import {writeBoxImages} from '../../../helpers/box-images.ts';
import {temporaryFolder} from '../../../helpers/temporary-folder.ts';

const root = temporaryFolder();
const png = await sharp({create: {width: 100, height: 50, channels: 3, background: '#204060'}})
  .png()
  .toBuffer();

type Files = Readonly<Record<string, Buffer | string>>;

function folderOf(files: Files): string {
  const folder = mkdtempSync(path.join(root, 'boxes-'));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(folder, name)), {recursive: true});
    writeFileSync(path.join(folder, name), content);
  }
  return folder;
}

/** Of each image: its file, and its boxes as `class left top right bottom` in hundredths, with `!` where it is ignored. */
function contentsOf(split: Split, {classes}: Dataset): Record<string, string[]> {
  const {paths, boxes: arrays} = split as Extract<Split, {kind: 'files'}>;
  const entries = Array.from({length: paths.length}, (_, i): [string, string[]] => {
    const of = Array.from({length: arrays!.offsets[i + 1]! - arrays!.offsets[i]!}, (_, k) => arrays!.offsets[i]! + k);
    const shown = of.map((k) => {
      const corners = [...arrays!.corners.subarray(4 * k, 4 * k + 4)].map((edge) => Math.round(1000 * edge) / 10);
      return `${classes[arrays!.classes[k]!]!} ${corners.join(' ')}${arrays!.ignore[k] === 1 ? ' !' : ''}`;
    });
    return [path.basename(pathAt(paths, i)), shown];
  });
  return Object.fromEntries(entries.sort());
}

const size = '<size><width>100</width><height>50</height></size>';
const bndbox = (corners: readonly (number | string)[]): string =>
  `<bndbox>${['xmin', 'ymin', 'xmax', 'ymax'].map((edge, i) => `<${edge}>${corners[i]!}</${edge}>`).join('')}</bndbox>`;
const object = (name: string, corners: readonly (number | string)[], more = ''): string =>
  `<object><name>${name}</name>${more}${bndbox(corners)}</object>`;
const annotation = (...parts: readonly string[]): string => `<annotation>${parts.join('\n')}</annotation>`;
const good = annotation(size, object('a', [10, 5, 60, 40]));

/** A folder of Pascal VOC whose first annotation is `xml`. */
const vocWith = (xml: string, more: Files = {}): Files => ({
  'train/1.xml': xml,
  'train/1.png': png,
  'test/2.xml': good,
  'test/2.png': png,
  ...more,
});

interface Coco {
  images: unknown;
  annotations: unknown;
  categories: unknown;
}
const coco: Coco = {
  images: [{id: 7, file_name: '1.png', width: 100, height: 50}],
  categories: [
    {id: 9, name: 'b'},
    {id: 3, name: 'a'},
  ],
  annotations: [{id: 1, image_id: 7, category_id: 9, bbox: [10, 5, 50, 35], iscrowd: 0}],
};
const cocoWith = (changes: Partial<Coco> | string): Files => ({
  'train/_annotations.coco.json': typeof changes === 'string' ? changes : JSON.stringify({...coco, ...changes}),
  'train/1.png': png,
  'valid/_annotations.coco.json': JSON.stringify(coco),
  'valid/1.png': png,
});

const yoloWith = (
  labels: string,
  yaml = 'train: images/train\nval: images/val\nnames: [a, b]\n',
  more: Files = {},
): Files => ({
  'data.yaml': yaml,
  'images/train/1.png': png,
  'labels/train/1.txt': labels,
  'images/val/2.png': png,
  ...more,
});

describe('boxes', () => {
  test.each(['voc', 'coco', 'yolo'] as const)('the same images have the same boxes as %s', async (format) => {
    const folder = mkdtempSync(path.join(root, `${format}-`));
    const drawn = await writeBoxImages(folder, format, {train: 3, test: 2});
    const expected = (split: 'test' | 'train'): Record<string, string[]> =>
      Object.fromEntries(
        drawn[split].map((image) => [
          `${image.name}.png`,
          image.boxes.map(({className, corners}) => {
            const percent = corners.map((edge, i) => Math.round((1000 * edge) / (i % 2 === 0 ? 96 : 64)) / 10);
            return `${className} ${percent.join(' ')}`;
          }),
        ]),
      );
    const dataset = await boxes.open(folder, {size: 64});
    expect(dataset).toMatchObject({classes: ['blue', 'red'], boxes: true, height: 64, width: 64, notices: []});
    expect([...dataset.train.boxes!.sizes]).toEqual([96, 64, 96, 64, 96, 64]);
    expect(contentsOf(dataset.train, dataset)).toEqual(expected('train'));
    expect(contentsOf(dataset.test, dataset)).toEqual(expected('test'));
    expect(await boxes.verify(folder, {size: 64})).toEqual([]);
  });

  test('a difficult object and a crowd are ignored; COCO orders classes by id', async () => {
    const voc = await boxes.open(
      folderOf(vocWith(annotation(size, object('a', [10, 5, 60, 40], '<difficult>1</difficult>')))),
      {},
    );
    expect(contentsOf(voc.train, voc)).toEqual({'1.png': ['a 10 10 60 80 !']});
    const crowd = [{id: 1, image_id: 7, category_id: 9, bbox: [10, 5, 50, 35], iscrowd: 1}];
    const dataset = await boxes.open(folderOf(cocoWith({annotations: crowd})), {});
    expect(dataset.classes).toEqual(['a', 'b']);
    expect(contentsOf(dataset.train, dataset)).toEqual({'1.png': ['b 10 10 60 80 !']});
    expect(contentsOf(dataset.test, dataset)).toEqual({'1.png': ['b 10 10 60 80']});
  });

  test('a YOLO polygon is the box around it; an image without labels has no boxes; names may be a map', async () => {
    const yaml = 'path: /elsewhere\ntrain: ../images/train\nval: list.txt\nnames: {0: a, 1: b}\nnc: 2\n';
    const folder = folderOf(yoloWith('1 0.1 0.2 0.6 0.3 0.4 0.8\r\n\n', yaml, {'list.txt': './images/val/2.png\n'}));
    const dataset = await boxes.open(folder, {});
    expect(contentsOf(dataset.train, dataset)).toEqual({'1.png': ['b 10 20 60 80']});
    expect(contentsOf(dataset.test, dataset)).toEqual({'2.png': []});
  });

  test('without images to test on, a digest of the name decides', async () => {
    const names = Array.from({length: 40}, (_, i) => String(i));
    const folder = folderOf(
      Object.fromEntries(
        names.flatMap((name): [string, Buffer | string][] => [
          [`${name}.xml`, good],
          [`${name}.png`, png],
        ]),
      ),
    );
    const dataset = await boxes.open(folder, {testShare: 0.25});
    const [train, held] = [contentsOf(dataset.train, dataset), contentsOf(dataset.test, dataset)].map(Object.keys);
    expect([...train!, ...held!].sort()).toEqual(names.map((name) => `${name}.png`).sort());
    expect(held!.length).toBeGreaterThan(4);
    writeFileSync(path.join(folder, 'more.xml'), good);
    writeFileSync(path.join(folder, 'more.png'), png);
    const grown = await boxes.open(folder, {testShare: 0.25});
    const without = (split: Split): string[] =>
      Object.keys(contentsOf(split, grown)).filter((name) => name !== 'more.png');
    expect([without(grown.train), without(grown.test)]).toEqual([train, held]);
  });

  test('boxes within a pixel of the image are clipped, those without area left out with a notice', async () => {
    const xml = annotation(
      size,
      object('a', [-1, 0, 101, 50.5]),
      object('a', [20, 20, 20, 30]),
      object('b', [5, 5, 5, 5]),
    );
    const folder = folderOf(vocWith(xml));
    const dataset = await boxes.open(folder, {});
    expect(contentsOf(dataset.train, dataset)).toEqual({'1.png': ['a 0 0 100 100']});
    const file = path.join(folder, 'train', '1.xml');
    expect(dataset.notices).toEqual([
      `2 boxes without area left out: ${file}, object 2 (line 3); ${file}, object 3 (line 4).`,
    ]);
    await expect(boxes.open(folder, {withoutArea: 'refuse'})).rejects.toThrow(
      `${file}, object 2 (line 3): the box (20, 20, 20, 30) has no area.`,
    );
  });

  test('boxes further outside and of unknown classes are refused, or clipped and dropped as the options say', async () => {
    const folder = folderOf(
      vocWith(
        annotation(size, object('a', [-3, 5, 60, 40]), object('b', [0, 0, 9, 9]), object('a', [120, 5, 130, 40])),
      ),
    );
    const file = path.join(folder, 'train', '1.xml');
    const open = async (options: Parameters<typeof boxes.open>[1]): Promise<Dataset> => boxes.open(folder, options);
    await expect(open({})).rejects.toThrow(
      `${file}, object 1 (line 2): the box (-3, 5, 60, 40) leaves the image of 100 × 50 pixels.`,
    );
    await expect(open({classes: ['a'], outside: 'clip'})).rejects.toThrow(
      `${file}, object 2 (line 3): the class "b" is unknown. Known: a.`,
    );
    const clipped = await open({classes: ['a'], outside: 'clip', unknownClass: 'drop'});
    expect(contentsOf(clipped.train, clipped)).toEqual({'1.png': ['a 0 10 60 80']});
    expect(clipped.notices).toEqual([
      expect.stringContaining('1 box outside the image clipped'),
      expect.stringContaining('1 box of the class "b" left out'),
      expect.stringContaining('1 box outside the image left out'),
    ]);
    const dropped = await open({outside: 'drop'});
    expect(contentsOf(dropped.train, dropped)).toEqual({'1.png': ['b 0 0 9 18']});
  });

  test('verify names every fault, and sizes that are not those of the images', async () => {
    const folder = folderOf(
      vocWith(annotation(size, object('a', ['NaN', 5, 60, 40]), object('', [1, 2, 3, 4])), {
        'train/3.xml': annotation('<size><width>200</width><height>50</height></size>', object('a', [1, 2, 30, 40])),
        'train/3.png': png,
        'train/4.xml': good,
        'train/4.png': png.subarray(0, 70),
      }),
    );
    const faults = await boxes.verify(folder, {});
    expect(faults.map((fault) => fault.replaceAll(folder, '')).sort()).toEqual([
      expect.stringMatching(/^\/train\/1\.xml, object 1 \(line 2\): bndbox\/xmin is "NaN"/),
      expect.stringMatching(/^\/train\/1\.xml, object 2 \(line 3\): it has no name/),
      expect.stringMatching(/^\/train\/3\.xml: the size is 200 × 50, but .*3\.png has 100 × 50/),
      expect.stringMatching(/^Cannot decode .*4\.png/),
    ]);
  });
});

describe('a malformed annotation is refused by file and place:', () => {
  const deep = `${'<a>'.repeat(50)}${'</a>'.repeat(50)}`;
  const bomb =
    '<!DOCTYPE annotation [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>' +
    annotation(size, object('&b;', [1, 2, 3, 4]));
  const yamlBomb = `a: &a [x, x]\n${'bcdefghij'
    .split('')
    .map((name, i) => `${name}: &${name} [${Array<string>(9).fill(`*${'abcdefghij'[i]!}`).join(', ')}]`)
    .join('\n')}\ntrain: images/train\n`;
  const lists = (trainval: string): Files => ({
    'Annotations/1.xml': good,
    'JPEGImages/1.png': png,
    'ImageSets/Main/trainval.txt': trainval,
    'ImageSets/Main/test.txt': '1\n',
  });

  test.each<[string, Files, RegExp]>([
    ['XML that is cut short', vocWith(good.slice(0, -20)), /train\/1\.xml, line \d+: it is not XML: unclosed root tag/],
    [
      'XML with a wrong closing tag',
      vocWith('<annotation>\n<size></siz></annotation>'),
      /1\.xml, line 2: it is not XML/,
    ],
    ['an empty XML file', vocWith(''), /1\.xml/],
    ['other XML', vocWith('<svg></svg>'), /1\.xml, line 1: the file begins with <svg>, not <annotation>/],
    ['no size', vocWith(annotation(object('a', [1, 2, 3, 4]))), /1\.xml: annotation\/size\/width is missing/],
    ['a size of 0', vocWith(good.replace('>50<', '>0<')), /1\.xml: annotation\/size\/height is "0"/],
    ['NaN', vocWith(annotation(size, object('a', [1, 'NaN', 3, 4]))), /object 1 \(line 2\): bndbox\/ymin is "NaN"/],
    ['an edge without digits', vocWith(annotation(size, object('a', [1, 2, '0x10', 4]))), /bndbox\/xmax is "0x10"/],
    ['no bndbox', vocWith(annotation(size, '<object><name>a</name></object>')), /bndbox\/xmin is missing/],
    [
      'no name',
      vocWith(annotation(size, `<object>${bndbox([1, 2, 3, 4])}</object>`)),
      /object 1 \(line 2\): it has no name/,
    ],
    ['elements that nest deep', vocWith(annotation(size, deep)), /1\.xml, line 2: elements nest deeper than 16 levels/],
    ['entities that grow', vocWith(bomb), /1\.xml, line 1: a DOCTYPE is not allowed/],
    [
      'an entity that nobody declares',
      vocWith(annotation(size, object('&x;', [1, 2, 3, 4]))),
      /line 2: it is not XML: invalid character entity/,
    ],
    [
      'XML of 17 MB',
      vocWith(annotation(size, ' '.repeat(17 * 2 ** 20))),
      /1\.xml has \d+ bytes; at most 16777216 are read/,
    ],
    ['no image', {...vocWith(good), 'train/3.xml': good}, /train\/3\.xml, filename: there is no image .*3\.jpg/],
    [
      'an image outside',
      vocWith(good, {'train/3.xml': annotation('<filename>../../../../etc/passwd.png</filename>', size)}),
      /train\/3\.xml, filename: the image .*passwd\.png is outside of/,
    ],
    ['a list that names a file twice', lists('1\n1\n'), /trainval\.txt, line 2: "1" is in line 1 already/],
    [
      'a list that leaves the folder',
      lists('../../secret\n'),
      /trainval\.txt, line 1: "\.\.\/\.\.\/secret" is not the name/,
    ],
    ['a list of what is not there', lists('1\n2\n'), /trainval\.txt, line 2: there is no annotation .*2\.xml/],
    ['JSON that is cut short', cocoWith('{"images": ['), /train\/_annotations\.coco\.json is not JSON: /],
    [
      'NaN in JSON',
      cocoWith(JSON.stringify(coco).replace('[10,', '[NaN,')),
      /_annotations\.coco\.json is not JSON: .*N/,
    ],
    [
      'bytes that are no text',
      {...cocoWith({}), 'train/_annotations.coco.json': Buffer.from([0x7b, 0xff])},
      /is not JSON: it is not text in UTF-8/,
    ],
    [
      'JSON that nests deep',
      cocoWith('['.repeat(200_000) + ']'.repeat(200_000)),
      /_annotations\.coco\.json, \/images: found/,
    ],
    ['no images', cocoWith({images: undefined}), /_annotations\.coco\.json, \/images: found nothing; COCO has a list/],
    ['an image that is no object', cocoWith({images: [4]}), /\/images\/0: found 4; an object is needed/],
    [
      'an image without width',
      cocoWith({images: [{id: 7, file_name: '1.png', height: 50}]}),
      /\/images\/0\/width: found nothing/,
    ],
    [
      'an image of no size',
      cocoWith({images: [{id: 7, file_name: '1.png', width: -3, height: 50}]}),
      /\/images\/0\/width: found -3/,
    ],
    [
      'two images of one id',
      cocoWith({images: [(coco.images as unknown[])[0], (coco.images as unknown[])[0]]}),
      /\/images\/1\/id: found 7; \/images\/0 has this id already/,
    ],
    [
      'two categories of one id',
      cocoWith({
        categories: [
          {id: 9, name: 'a'},
          {id: 9, name: 'b'},
        ],
      }),
      /\/categories\/1\/id: found 9/,
    ],
    [
      'two annotations of one id',
      cocoWith({annotations: [(coco.annotations as unknown[])[0], (coco.annotations as unknown[])[0]]}),
      /\/annotations\/1\/id: found 1/,
    ],
    ['a category without name', cocoWith({categories: [{id: 9}]}), /\/categories\/0\/name: found nothing/],
    [
      'an unknown category',
      cocoWith({annotations: [{id: 1, image_id: 7, category_id: 4, bbox: [1, 2, 3, 4]}]}),
      /\/annotations\/0\/category_id: found 4; no category has this id/,
    ],
    [
      'an unknown image',
      cocoWith({annotations: [{id: 1, image_id: 8, category_id: 9, bbox: [1, 2, 3, 4]}]}),
      /\/annotations\/0\/image_id: found 8; no image has this id/,
    ],
    [
      'a box of three numbers',
      cocoWith({annotations: [{id: 1, image_id: 7, category_id: 9, bbox: [1, 2, 3]}]}),
      /\/annotations\/0\/bbox: found \[1,2,3\]; four numbers/,
    ],
    [
      'a box of texts',
      cocoWith({annotations: [{id: 1, image_id: 7, category_id: 9, bbox: [1, 2, '3', 4]}]}),
      /\/annotations\/0\/bbox\/2: found "3"; a number/,
    ],
    [
      'an image of COCO that is not there',
      cocoWith({images: [{id: 7, file_name: '2.png', width: 100, height: 50}]}),
      /\/images\/0\/file_name: there is no image .*2\.png/,
    ],
    [
      'an image of COCO outside',
      cocoWith({images: [{id: 7, file_name: '/etc/hostname.png', width: 100, height: 50}]}),
      /\/images\/0\/file_name: the image \/etc\/hostname\.png is outside of/,
    ],
    ['YAML that is none', yoloWith('', 'train: [\nnames'), /data\.yaml, line \d+: it is not YAML/],
    ['aliases that grow', yoloWith('', yamlBomb), /data\.yaml: it is not YAML: Excessive alias count/],
    ['no names', yoloWith('', 'train: images/train\nval: images/val\n'), /data\.yaml: names is nothing/],
    [
      'names that are no list from 0',
      yoloWith('', 'train: images/train\nval: images/val\nnames: {1: a}\n'),
      /names has no name for class 0/,
    ],
    [
      'another number of classes',
      yoloWith('', 'train: images/train\nval: images/val\nnames: [a]\nnc: 3\n'),
      /data\.yaml: nc is 3, but names has 1 classes/,
    ],
    ['no train', yoloWith('', 'val: images/val\nnames: [a]\n'), /data\.yaml has no key "train"/],
    [
      'a folder that is not there',
      yoloWith('', 'train: nowhere\nval: images/val\nnames: [a]\n'),
      /data\.yaml: train: .*nowhere is not there/,
    ],
    [
      'a folder outside',
      yoloWith('', 'train: /etc\nval: images/val\nnames: [a]\n'),
      /data\.yaml: train: \/etc is outside of/,
    ],
    [
      'a list of images that are not there',
      yoloWith('', 'train: l.txt\nval: images/val\nnames: [a]\n', {'l.txt': 'images/train/1.png\nno.png\n'}),
      /l\.txt, line 2: there is no image .*no\.png/,
    ],
    [
      'five numbers and one more',
      yoloWith('0 .5 .5 .2 .2\n0 .5 .5 .2 .2 .9\n'),
      /labels\/train\/1\.txt, line 2: found 6 columns/,
    ],
    ['NaN in a label', yoloWith('0 .5 nan .2 .2\n'), /1\.txt, line 1: column 3 is "nan"/],
    ['a class that is no index', yoloWith('cat .5 .5 .2 .2\n'), /1\.txt, line 1: column 1 is "cat"/],
    ['a class of a fraction', yoloWith('0.5 .5 .5 .2 .2\n'), /1\.txt, line 1: the class is "0\.5"/],
    [
      'a class beyond names',
      yoloWith('2 .5 .5 .2 .2\n'),
      /1\.txt, line 1: the class "class 2" is unknown\. Known: a, b/,
    ],
    [
      'pixels in place of fractions',
      yoloWith('0 50 25 20 20\n'),
      /1\.txt, line 1: the box .* is outside of the image of 100 × 50 pixels/,
    ],
    ['a folder of nothing', {'readme.txt': 'nothing'}, /has no annotations of boxes that sdq knows/],
  ])('%s', async (_, files, message) => {
    const folder = folderOf(files);
    const opened = boxes.open(folder, {});
    await expect(opened).rejects.toThrow(message);
    await expect(opened).rejects.toMatchObject({oclif: {exit: 3}});
  });

  test('a polygon of a million corners and a folder that contains itself are read', async () => {
    const points = Array.from({length: 500_000}, (_, i) => (i % 2 === 0 ? '.2 .2' : '.7 .9')).join(' ');
    const folder = folderOf(yoloWith(`0 ${points}`));
    symlinkSync(folder, path.join(folder, 'images', 'train', 'again'));
    const dataset = await boxes.open(folder, {});
    expect(contentsOf(dataset.train, dataset)).toEqual({'1.png': ['a 20 20 70 90'], '2.png': []});
  });
});

const bccd = path.resolve(import.meta.dirname, '../../../../../shared/data/bccd');
const bccdTest = existsSync(bccd) ? test : test.skip;

bccdTest('BCCD (../shared/data/bccd): 292 and 72 photographs, two boxes without area', async () => {
  const dataset = await boxes.open(bccd, {size: 64});
  expect(dataset.classes).toEqual(['Platelets', 'RBC', 'WBC']);
  const {test: held, train} = dataset;
  expect([train.labels.length, held.labels.length]).toEqual([292, 72]);
  expect(train.boxes!.classes.length + held.boxes!.classes.length).toBe(372 + 4155 + 361 - 2);
  expect(dataset.notices).toEqual([
    expect.stringMatching(
      /^2 boxes without area left out: .*BloodImage_00338\.xml, object \d+ \(line \d+\); .*BloodImage_00343\.xml/,
    ),
  ]);
  const source = openBatches(dataset, {
    ...{part: 'train', mode: 'training', validation: 0, batchSize: 4, augment: true, normalization: dataset, seed: 1},
  });
  try {
    const {boxes: batch, images} = await source.batch(0, 0);
    expect(images).toHaveLength(4 * 64 * 64 * 3);
    expect(batch!.most).toBe(120);
    const kept = Array.from({length: 4 * batch!.most}, (_, i) => batch!.values.subarray(6 * i, 6 * i + 6));
    expect(kept.filter(([index]) => index! >= 0).length).toBeGreaterThan(10);
    for (const [index, x, y, width, height] of kept) {
      expect([-1, 0, 1, 2]).toContain(index);
      expect(x! - width! / 2).toBeGreaterThanOrEqual(-1e-6);
      expect(y! + height! / 2).toBeLessThanOrEqual(1 + 1e-6);
    }
  } finally {
    await source.close();
  }
});
