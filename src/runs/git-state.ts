/** What git says of the working directory. */
import {execFileSync} from 'node:child_process';

export interface GitState {
  readonly commit: string;
  readonly dirty: boolean;
  /** Left out: none is checked out. */
  readonly branch?: string;
  /** Address of `origin`, without user name and password; left out: there is none. */
  readonly remote?: string;
}

/** State of the working directory, when it is a git checkout and git is installed. */
export function gitState(): GitState | null {
  const git = (...args: string[]): string =>
    execFileSync('git', args, {encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], timeout: 5000}).trim();
  try {
    const lines = git('status', '--porcelain=v2', '--branch').split('\n');
    const header = (name: string): string => {
      const start = `# branch.${name} `;
      return lines.find((line) => line.startsWith(start))?.slice(start.length) ?? '';
    };
    const [commit, branch] = [header('oid'), header('head')];
    if (commit === '(initial)') return null;
    const remote = withoutCredentials(originOf(git));
    return {
      commit,
      dirty: lines.some((line) => line !== '' && !line.startsWith('#')),
      ...(branch === '(detached)' ? {} : {branch}),
      ...(remote === '' ? {} : {remote}),
    };
  } catch {
    return null;
  }
}

/** '' where there is no origin: git then ends with an error. */
function originOf(git: (...args: string[]) => string): string {
  try {
    return git('config', '--get', 'remote.origin.url');
  } catch {
    return '';
  }
}

/** An address of git without what may be secret; `git@host:path` has nothing that is. */
function withoutCredentials(address: string): string {
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(address)) return address;
  if (!URL.canParse(address)) return '';
  const url = new URL(address);
  url.username = '';
  url.password = '';
  url.search = '';
  return url.href;
}
