/** The proxies that the environment names. */
import {BlockList, isIP} from 'node:net';

import {invalidInput} from '../errors.ts';
import {valueOf, type Environment} from './environment.ts';

export interface Proxies {
  readonly http: URL | undefined;
  readonly https: URL | undefined;
  /** The text of NO_PROXY. */
  readonly excluded: string;
  /** Whether the host is an address in one of the networks of NO_PROXY, e.g. `10.0.0.0/8`. */
  readonly isExcluded: (hostname: string) => boolean;
}

/** HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY; small letters go before capitals, also where they are empty. */
export function proxiesOf(env: Environment): Proxies {
  const either = (name: string): string | undefined => valueOf(env, name in env ? name : name.toUpperCase());
  const proxy = (name: string): URL | undefined => {
    const value = either(name) ?? either('all_proxy');
    return value === undefined ? undefined : proxyUrl(value, name.toUpperCase());
  };
  const excluded = either('no_proxy') ?? '';
  const networks = new BlockList();
  for (const entry of excluded.split(/[,\s]+/)) {
    const [, network = '', prefix] = /^([\da-f.:]+)\/(\d{1,3})$/i.exec(entry) ?? [];
    const family = isIP(network);
    if (family === 0 || Number(prefix) > (family === 4 ? 32 : 128)) continue;
    networks.addSubnet(network, Number(prefix), family === 4 ? 'ipv4' : 'ipv6');
  }
  return {
    http: proxy('http_proxy'),
    https: proxy('https_proxy'),
    excluded,
    isExcluded(hostname) {
      const host = hostname.replace(/^\[(.*)\]$/, '$1');
      const family = isIP(host);
      return family !== 0 && networks.check(host, family === 4 ? 'ipv4' : 'ipv6');
    },
  };
}

function proxyUrl(value: string, variable: string): URL {
  const text = (/^[a-z][a-z\d+.-]*:\/\//i.test(value) ? value : `http://${value}`).replace(/^socks5h:/i, 'socks5:');
  const isKnown = /^(?:https?|socks5):/i.test(text);
  if (isKnown && URL.canParse(text) && isDecodable(new URL(text))) return new URL(text);
  // Not the value: it may hold a password.
  throw invalidInput(
    'proxy-environment',
    `${variable} (or ALL_PROXY) is not the address of a proxy: http://, https:// or socks5://, then the host.`,
    ['Write / @ : ? # in a user name or a password as %2F %40 %3A %3F %23.'],
  );
}

function isDecodable({password, username}: URL): boolean {
  try {
    decodeURIComponent(username + password);
    return true;
  } catch {
    return false;
  }
}
