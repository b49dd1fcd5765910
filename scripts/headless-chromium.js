// Pictures of pages in headless Chromium.
import {execFileSync} from 'node:child_process';

/** Its program. @throws Error when none is installed */
export function chromium() {
  const name = ['chromium', 'chromium-browser', 'google-chrome'].find((each) => works(each));
  if (name === undefined) throw new Error('Chromium is missing');
  return name;
}

export function works(name) {
  try {
    execFileSync(name, ['--version'], {stdio: 'ignore'});
    return true;
  } catch {
    return false;
  }
}

/**
 * Writes a PNG of what a window of this size shows.
 * @param address of the page: file:// or http://
 * @param options.settleMs of the page's own time, for its requests and timers. Requests to other hosts fail at once: the clock waits for answers
 */
export function screenshot(address, file, {dark = false, height, settleMs, width}) {
  const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars', `--screenshot=${file}`];
  const style = dark ? ['--blink-settings=preferredColorScheme=0'] : [];
  const time =
    settleMs === undefined
      ? []
      : [
          `--virtual-time-budget=${settleMs}`,
          '--timeout=60000',
          '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
        ];
  execFileSync(chromium(), [...flags, ...style, ...time, `--window-size=${width},${height}`, address], {
    stdio: 'ignore',
  });
}
