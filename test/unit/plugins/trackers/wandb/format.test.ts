import {execFileSync} from 'node:child_process';
import {appendFileSync, readFileSync, truncateSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {describe, expect, test} from '@jest/globals';

import {fileHeader, frameRecord, readFrames} from '../../../../../src/plugins/trackers/wandb/framing.ts';
import {encodeRecord, readRecordHead} from '../../../../../src/plugins/trackers/wandb/records.ts';
import {temporaryFolder} from '../../../../helpers/temporary-folder.ts';

const folder = temporaryFolder();
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** A file of these records. */
function fileOf(name: string, payloads: readonly Uint8Array[]): string {
  const parts = [fileHeader];
  let size = fileHeader.length;
  for (const payload of payloads) {
    const framed = frameRecord(payload, size);
    parts.push(framed);
    size += framed.length;
  }
  const file = path.join(folder, name);
  writeFileSync(file, Buffer.concat(parts));
  return file;
}

// The bytes on the right were written by the generated classes of the Python package wandb 0.30.0.
describe('records have the bytes of the Python package', () => {
  test('run', () => {
    const run = {
      runId: 'r1',
      entity: 'e',
      project: 'p',
      config: {update: [{key: 'lr', valueJson: '0.1'}]},
      runGroup: 'g',
      jobType: 'j',
      displayName: 'n',
      notes: 'ü',
      tags: ['a', 'b'],
      sweepId: 's',
      host: 'h',
      startingStep: 3,
      startTime: {seconds: 1795468219, nanos: 641000000},
      resumed: true,
      git: {commit: 'c0'},
    };
    expect(hex(encodeRecord({run}))).toBe(
      '8a014c0a0272311201651a0170220c0a0a0a026c72820103302e313201673a016a42016e4a02c3bc5201615201626201736a016870038a010c08bbd792d80610c0c4d3b102900101aa010412026330',
    );
  });

  test('history', () => {
    const item = [
      {key: 'search/loss', valueJson: '0.5'},
      {key: '_step', valueJson: '300'},
    ];
    expect(hex(encodeRecord({history: {item, step: {num: 300}}}, 2))).toBe(
      '080212290a130a0b7365617263682f6c6f7373820103302e350a0d0a055f73746570820103333030120308ac02',
    );
  });

  test('stats', () => {
    const item = [
      {key: 'cpu', valueJson: '12.5'},
      {key: 'proc.memory.rssMB', valueJson: '300'},
    ];
    const record = {stats: {timestamp: {seconds: 1795468219, nanos: 641000000}, item}};
    expect(hex(encodeRecord(record, 7))).toBe(
      '08073a37120c08bbd792d80610c0c4d3b1021a0c0a0363707582010431322e351a190a1170726f632e6d656d6f72792e7273734d42820103333030',
    );
  });

  test('metric', () => {
    const step = {metric: {name: 'step', options: {defined: true}}};
    expect(hex(encodeRecord(step, 3))).toBe('0803620a0a047374657032021801');
    const loss = {metric: {name: 'search/loss', stepMetric: 'step', options: {stepSync: true, defined: true}}};
    expect(hex(encodeRecord(loss, 3))).toBe('080362190a0b7365617263682f6c6f7373220473746570320408011801');
  });

  test('artifact', () => {
    const artifact = {
      runId: 'r1',
      project: 'p',
      entity: 'e',
      type: 'strategy',
      name: 'n',
      digest: 'd',
      aliases: ['latest'],
      manifest: {
        version: 1,
        storagePolicy: 'wandb-storage-policy-v1',
        storagePolicyConfig: [{key: 'storageLayout', valueJson: '"V2"'}],
        contents: [{path: 'strategy.json', digest: 'x', size: 70000, localPath: '/a/b'}],
      },
      finalize: true,
      clientId: 'c',
      sequenceClientId: 'q',
    };
    expect(hex(encodeRecord({artifact}, 5))).toBe(
      '0805427d0a0272311201701a0165220873747261746567792a016e3201645a066c617465737462500801121777616e64622d73746f726167652d706f6c6963792d76311a150a0d73746f726167654c61796f7574120422563222221c0a0d73747261746567792e6a736f6e12017820f0a20432042f612f6270017a016382010171',
    );
  });

  test.each([
    ['summary', {summary: {update: [{key: 'x', valueJson: 'NaN'}]}}, 2, '08021a0b0a090a01788201034e614e'],
    ['config', {config: {update: [{key: 'x', valueJson: '{}'}]}}, 4, '08042a0a0a080a01788201027b7d'],
    [
      'files',
      {files: {files: [{path: 'media/table/t.json', type: 2}]}},
      3,
      '080332180a160a126d656469612f7461626c652f742e6a736f6e1802',
    ],
    ['exit', {exit: {exitCode: 143, runtime: 77}}, 9, '0809920105088f01104d'],
    ['final', {final: {}}, 9, '0809a20100'],
    [
      'header',
      {header: {versionInfo: {producer: '0.30.0', minConsumer: '0.40.0'}}},
      undefined,
      'aa01120a100a06302e33302e301206302e34302e30',
    ],
  ] as const)('%s', (_, record, num, bytes) => {
    expect(hex(encodeRecord(record, num))).toBe(bytes);
  });

  test('the number and the exit are read back', () => {
    expect(readRecordHead(encodeRecord({final: {}}, 2 ** 40))).toEqual({num: 2 ** 40, isExit: false});
    expect(readRecordHead(encodeRecord({exit: {exitCode: 0, runtime: 1}}, 9))).toEqual({num: 9, isExit: true});
  });
});

describe('frames', () => {
  test('a short file, byte by byte', () => {
    // zlib.crc32 of Python over 01 61 62 63 is 0x9a9dbf03.
    const crc = execFileSync(process.execPath, ['-p', 'require("zlib").crc32(Buffer.from("\\x01abc")).toString(16)']);
    const file = fileOf('short', [Buffer.from('abc')]);
    const little = Buffer.from(crc.toString().trim().padStart(8, '0'), 'hex').reverse().toString('hex');
    expect(hex(readFileSync(file))).toBe(`3a572642e1be00${little}030001616263`);
  });

  test.each([0, 1, 6, 7, 8])('a record that leaves %d bytes of block 0', (left) => {
    const first = Buffer.alloc(32768 - 7 - 7 - left, 1);
    const records = [first, Buffer.from('second'), Buffer.alloc(70_000, 3), Buffer.from('last')];
    const file = fileOf(`left${left}`, records);
    expect([...readFrames(file)].map(hex)).toEqual(records.map(hex));
    const bytes = readFileSync(file);
    const tail = bytes.subarray(32768 - left, 32768);
    if (left < 7) expect(hex(tail)).toBe('00'.repeat(left));
    // Exactly one chunk header fits: a first chunk without content.
    if (left === 7) expect(hex(tail.subarray(4))).toBe('000002');
  });

  test('a torn file gives its whole records, wherever it is cut', () => {
    const records = Array.from({length: 40}, (_, i) => Buffer.alloc(1000 + 37 * i, i));
    const whole = fileOf('whole', records);
    const size = readFileSync(whole).length;
    let before = records.length;
    for (let cut = size; cut > 7; cut -= 1777) {
      const file = fileOf('torn', records);
      truncateSync(file, cut);
      const found = [...readFrames(file)].map(hex);
      expect(found).toEqual(records.slice(0, found.length).map(hex));
      expect(found.length).toBeLessThanOrEqual(before);
      before = found.length;
    }
    expect(before).toBeLessThan(3);
  });

  test('a wrong checksum and rubbish end the reading', () => {
    const file = fileOf('wrong', [Buffer.from('one'), Buffer.from('two')]);
    const bytes = readFileSync(file);
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(file, bytes);
    appendFileSync(file, Buffer.alloc(100, 0xff));
    expect([...readFrames(file)].map((frame) => Buffer.from(frame).toString())).toEqual(['one']);
  });
});
