import {mkdirSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {describe, expect, test} from '@jest/globals';

import {resolveSettings, type WandbOptions} from '../../../../../src/plugins/trackers/wandb/settings.ts';
import {temporaryFolder} from '../../../../helpers/temporary-folder.ts';

const home = temporaryFolder();
const options: WandbOptions = {
  project: 'mine',
  tags: ['a'],
  transport: 'http',
  metricNames: 'quantity',
  artifacts: ['strategy'],
  group: 'g',
};
const resolve = (
  env: Record<string, string>,
  changed: Partial<WandbOptions> = {},
): ReturnType<typeof resolveSettings> => resolveSettings({...options, ...changed}, {HOME: home, ...env}, '/somewhere');

describe('W&B settings', () => {
  test('every variable goes before the config', () => {
    expect(
      resolve({
        WANDB_API_KEY: 'k',
        WANDB_BASE_URL: 'https://wandb.example.org/',
        WANDB_PROJECT: 'p',
        WANDB_ENTITY: 'e',
        WANDB_RUN_ID: 'r',
        WANDB_RUN_GROUP: 'gg',
        WANDB_JOB_TYPE: 'j',
        WANDB_NAME: 'n',
        WANDB_NOTES: 'notes',
        WANDB_TAGS: 'x, y,,z',
        WANDB_RESUME: 'must',
        WANDB_DIR: 'logs',
        WANDB_SWEEP_ID: 's',
      }),
    ).toEqual({
      mode: 'online',
      offlineReason: undefined,
      key: 'k',
      baseUrl: 'https://wandb.example.org',
      project: 'p',
      entity: 'e',
      runId: 'r',
      group: 'gg',
      jobType: 'j',
      name: 'n',
      notes: 'notes',
      tags: ['x', 'y', 'z'],
      resume: 'must',
      directory: path.resolve('/somewhere', 'logs'),
      sweepId: 's',
      verifyTls: true,
      transport: 'http',
      metricNames: 'quantity',
      artifacts: new Set(['strategy']),
      gitDiff: false,
      saveCode: false,
    });
  });

  test('without variables the config counts; empty ones are as good as none', () => {
    expect(resolve({WANDB_API_KEY: 'k', WANDB_PROJECT: '', WANDB_TAGS: ''})).toMatchObject({
      project: 'mine',
      group: 'g',
      tags: ['a'],
      baseUrl: 'https://api.wandb.ai',
      entity: undefined,
    });
  });

  test('no key: offline, and it says why', () => {
    expect(resolve({})).toMatchObject({mode: 'offline', key: undefined});
    expect(resolve({}).offlineReason).toContain('WANDB_API_KEY');
  });

  test.each(['offline', 'disabled'] as const)('WANDB_MODE %s needs no key and gives no reason', (mode) => {
    expect(resolve({WANDB_MODE: mode})).toMatchObject({mode, offlineReason: undefined});
    expect(resolve({WANDB_MODE: mode, WANDB_API_KEY: 'k'}, {mode: 'online'})).toMatchObject({mode});
  });

  test('the key of the server in .netrc, not that of another one', () => {
    writeFileSync(
      path.join(home, '.netrc'),
      'machine other.org login a password wrong\n# machine api.wandb.ai password wrong\nmachine api.wandb.ai\n  login user\n  password right\n',
    );
    expect(resolve({})).toMatchObject({mode: 'online', key: 'right'});
    expect(resolve({WANDB_BASE_URL: 'https://third.org'})).toMatchObject({mode: 'offline', key: undefined});
    expect(resolve({WANDB_API_KEY: 'k'})).toMatchObject({key: 'k'});
    const elsewhere = path.join(home, 'keys');
    writeFileSync(elsewhere, 'machine api.wandb.ai login user password other');
    expect(resolve({NETRC: elsewhere})).toMatchObject({key: 'other'});
  });

  test.each([
    ['dryrun', 'offline'],
    ['run', 'online'],
    ['Offline', 'offline'],
  ])('WANDB_MODE=%s is %s', (name, mode) => {
    expect(resolve({WANDB_MODE: name, WANDB_API_KEY: 'k'})).toMatchObject({mode});
  });

  test('the settings files of wandb, below environment and config; that of the working folder first', () => {
    const cwd = path.join(home, 'work');
    const user = path.join(home, '.config', 'wandb');
    for (const folder of [user, path.join(cwd, 'wandb'), path.join(home, 'elsewhere')])
      mkdirSync(folder, {recursive: true});
    writeFileSync(
      path.join(user, 'settings'),
      '; wandb login --host\n[default]\nbase_url = http://127.0.0.1:18570\nentity=team\nproject : theirs\n[other]\nentity = no\n',
    );
    writeFileSync(
      path.join(home, '.netrc'),
      "machine 127.0.0.1:18570\n login user\n password 'own'\nmachine 127.0.0.1 password host\n",
    );
    const {project: _, ...bare} = options;
    const within = (env: Record<string, string> = {}, changed: Partial<WandbOptions> = {}): unknown =>
      resolveSettings({...bare, ...changed}, {HOME: home, ...env}, cwd);
    expect(within()).toMatchObject({
      mode: 'online',
      baseUrl: 'http://127.0.0.1:18570',
      entity: 'team',
      project: 'theirs',
      key: 'own',
    });
    writeFileSync(
      path.join(cwd, 'wandb', 'settings'),
      '[default]\nmode = offline\nentity = mine\ninsecure_disable_ssl = true',
    );
    expect(within()).toMatchObject({mode: 'offline', entity: 'mine', project: 'theirs', verifyTls: false});
    expect(within({WANDB_MODE: 'online', WANDB_INSECURE_DISABLE_SSL: '0'}, {entity: 'config'})).toMatchObject({
      mode: 'online',
      entity: 'config',
      verifyTls: true,
    });
    expect(within({WANDB_BASE_URL: 'http://other:1'}, {baseUrl: 'http://config:1'})).toMatchObject({
      baseUrl: 'http://other:1',
      key: undefined,
    });
    expect(within({}, {baseUrl: 'http://127.0.0.1:1'})).toMatchObject({baseUrl: 'http://127.0.0.1:1', key: 'host'});
    expect(within({WANDB_CONFIG_DIR: path.join(home, 'elsewhere')})).toMatchObject({
      baseUrl: 'https://api.wandb.ai',
      project: 'sdq',
    });
  });

  test.each([
    ['WANDB_TAGS', `a,${'t'.repeat(65)}`, /^A tag of WANDB_TAGS has 65 characters \("t{20}"…\); W&B takes 64/],
    ['WANDB_NAME', 'n'.repeat(129), /^WANDB_NAME has 129 characters/],
    ['WANDB_PROJECT', 'a/b', /WANDB_PROJECT or project\) is "a\/b"/],
    ['WANDB_BASE_URL', 'https://wandb.ai', /is that of its pages/],
    ['WANDB_BASE_URL', 'http://joe:p/ss@host', /not an http\(s\) address/],
    ['WANDB_MODE', 'sometimes', /WANDB_MODE is "sometimes"; allowed are online, offline, disabled/],
    ['WANDB_RESUME', 'maybe', /WANDB_RESUME is "maybe"; allowed/],
    ['WANDB_RUN_ID', 'a/b', /WANDB_RUN_ID is "a\/b"/],
    ['WANDB_BASE_URL', 'ftp://x', /not an http\(s\) address/],
  ])('%s=%s is refused', (name, value, message) => {
    expect(() => resolve({[name]: value})).toThrow(message);
  });

  test('an address with a password is refused without showing it', () => {
    const call = (): unknown => resolve({WANDB_BASE_URL: 'https://me:geheim@x.org'});
    expect(call).toThrow(/without a password/);
    expect(call).not.toThrow(/geheim/);
  });
});
