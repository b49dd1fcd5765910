/** Headless Chromium by its debugging pipe: pages at any width, as a screen or as paper, with a pointer. */
import {spawn, spawnSync} from 'node:child_process';
import type {Readable, Writable} from 'node:stream';

/** The program; undefined where none is installed. */
export const chromium = ['chromium', 'chromium-browser', 'google-chrome'].find(
  (name) => spawnSync(name, ['--version']).status === 0,
);

export interface Page {
  /** Value of a JavaScript expression in the page, as JSON. */
  evaluate(expression: string): Promise<unknown>;
  /** A command of the Chrome DevTools Protocol, and its result. */
  send(method: string, parameters?: object): Promise<Record<string, unknown>>;
}

interface Answer {
  readonly id?: number;
  readonly method?: string;
  readonly result?: Record<string, unknown>;
  readonly error?: {readonly message: string};
}

/** Opens the file in a window of `width` × 2000 pixels, runs `use`, and ends the browser. */
export async function withPage<T>(file: string, width: number, use: (page: Page) => Promise<T>): Promise<T> {
  const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--remote-debugging-pipe', 'about:blank'];
  const browser = spawn(chromium ?? '', flags, {stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe']});
  const ended = new Promise((resolve) => browser.once('close', resolve));
  const [commands, answers] = [browser.stdio[3] as Writable, browser.stdio[4] as Readable];
  const waiting = new Map<number | string, (answer: Answer) => void>();
  let [rest, last] = ['', 0];
  answers.setEncoding('utf8').on('data', (text: string) => {
    const parts = (rest + text).split('\0');
    rest = parts.pop() ?? '';
    for (const part of parts) {
      const answer = JSON.parse(part) as Answer;
      waiting.get(answer.id ?? answer.method ?? '')?.(answer);
    }
  });
  const send = async (method: string, params: object = {}, sessionId?: string): Promise<Record<string, unknown>> => {
    const id = ++last;
    const answered = new Promise<Answer>((resolve) => waiting.set(id, resolve));
    commands.write(`${JSON.stringify({id, method, params, sessionId})}\0`);
    const {error, result} = await answered;
    if (result === undefined) throw new Error(`${method}: ${error?.message ?? 'no result'}`);
    return result;
  };
  try {
    const {targetId} = await send('Target.createTarget', {url: 'about:blank'});
    const {sessionId} = await send('Target.attachToTarget', {targetId, flatten: true});
    const inPage = (method: string, params: object = {}): Promise<Record<string, unknown>> =>
      send(method, params, sessionId as string);
    await inPage('Emulation.setDeviceMetricsOverride', {width, height: 2000, deviceScaleFactor: 1, mobile: false});
    await inPage('Page.enable');
    const loaded = new Promise((resolve) => waiting.set('Page.loadEventFired', resolve));
    await inPage('Page.navigate', {url: `file://${file}`});
    await loaded;
    return await use({
      send: inPage,
      evaluate: async (expression) => {
        const {exceptionDetails, result} = await inPage('Runtime.evaluate', {expression, returnByValue: true});
        if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails));
        return (result as {value: unknown}).value;
      },
    });
  } finally {
    browser.kill();
    await ended;
  }
}
