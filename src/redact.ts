/** Keeps passwords and keys out of everything that is shown or stored. */

/** Names of settings and variables that hold a secret: apiKey, WANDB_API_KEY, PGPASSWORD, accessToken, clientSecret. */
export const secretName =
  /(?:api|access|private|secret)[-_]?key$|(?:token|passw(?:or)?d|passphrase|pwd|secret|credentials?)$/i;

/** Names in the query of an address whose value lets the reader in. */
const secretParameter = /^(?:auth|authorization|key|sig|signature|x-(?:amz|goog)-(?:signature|credential))$/i;

const placeholder = '***';

/** An address, up to a space or a quote. */
const address = /\b[a-z][a-z0-9+.-]*:\/\/[^\s"'`<>]+/gi;

/**
 * Takes user names, passwords and tokens out of the addresses in a text:
 * `https://user:password@host` and `https://token@host` become `https://***@host`, `?token=x` becomes `?token=***`.
 *
 * A password may hold `/`, `?`, `#` and `@` although it must not: such an address cannot be parsed, or the host that the
 * parser sees is the user's name. So everything up to the last `@` goes where a host follows it.
 */
export function redactUrls(text: string): string {
  return text.replaceAll(address, redactAddress);
}

function redactAddress(text: string): string {
  const start = text.indexOf('://') + 3;
  const end = userInfoEnd(text, start);
  const user = end === undefined ? '' : `${placeholder}@`;
  const rest = text.slice(end === undefined ? start : end + 1);
  return `${text.slice(0, start)}${user}${rest.replaceAll(/([?&#;])([^=&#;?]+)=([^&#;]*)/g, redactParameter)}`;
}

function redactParameter(all: string, separator: string, name: string, value: string): string {
  const isSecret = value !== '' && (secretName.test(name) || secretParameter.test(name));
  return isSecret ? `${separator}${name}=${placeholder}` : all;
}

/** Place of the `@` that ends user name and password; undefined where there are none. */
function userInfoEnd(text: string, start: number): number | undefined {
  const last = text.lastIndexOf('@');
  if (last < start || /^file:/i.test(text)) return undefined;
  const authorityEnd = start + text.slice(start).search(/[/?#]|$/);
  if (last < authorityEnd || !URL.canParse(text)) return last;
  const before = text.slice(start, last);
  // `https://host/package@1.2` has no user; `http://user:pass/word@host` has.
  if (before.includes(':') || isHost(text.slice(last + 1))) return last;
  const inAuthority = text.lastIndexOf('@', authorityEnd - 1);
  return inAuthority < start ? undefined : inAuthority;
}

/** Whether a text begins with a host: localhost, an IPv4 address, a name with a top-level domain, or any name with a port. */
function isHost(text: string): boolean {
  return /^(?:localhost|\d{1,3}(?:\.\d{1,3}){3}|\[[\da-f:.]+\]|[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}|[\w.-]+:\d+)(?=[/:?#]|$)/i.test(
    text,
  );
}

/** A shorter value of a variable that is not ours may be a word of any message. */
const shortestSecret = 8;
const shortestKnownSecret = 4;
/** The variables that hold nothing but a secret. */
const known = new Set(['WANDB_API_KEY', 'MLFLOW_TRACKING_PASSWORD', 'MLFLOW_TRACKING_TOKEN']);

/** A function that takes out of a text the secrets of addresses and the values of the secret variables of `env`. */
export function redactor(env: Readonly<Record<string, string | undefined>>): (text: string) => string {
  const secrets = Object.entries(env)
    .flatMap(([name, value = '']) => {
      const shortest = known.has(name) ? shortestKnownSecret : shortestSecret;
      return secretName.test(name) && value.length >= shortest ? [value] : [];
    })
    // A secret that is part of another one comes after it.
    .sort((a, b) => b.length - a.length);
  return (text) => secrets.reduce((clean, secret) => clean.replaceAll(secret, placeholder), redactUrls(text));
}

/** What is a key or a token wherever it stands: those of GitHub, GitLab, Slack, Hugging Face, OpenAI, AWS and Google. */
const tokens =
  /\b(?:gh[opsur]_|github_pat_|glpat-|xox[abeprs]-|hf_|sk-|AKIA|ASIA|AIza)[A-Za-z0-9_-]{16,}|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g;
/** `name = "value"` and, alone on a line, `NAME=value` and `name: value`; `name` is looked at afterwards. */
const assignment =
  /(?<name>[A-Za-z][\w-]*)(?<sign>["']?[ \t]*[:=][ \t]*)(?:(?<quote>["'`])[^"'`\n]{4,}\k<quote>|[^\s"'`()[\]{},;<>$]{6,}(?=[ \t]*\r?$))/gm;

/**
 * A source text without what looks like a secret: as `redactor`, and further the values given to names of secrets, and
 * tokens of well-known services.
 */
export function redactSource(text: string, env: Readonly<Record<string, string | undefined>>): string {
  return redactor(env)(text)
    .replaceAll(tokens, placeholder)
    .replaceAll(assignment, (all: string, name: string, sign: string, quote: string | undefined) =>
      secretName.test(name) ? `${name}${sign}${quote ?? ''}${placeholder}${quote ?? ''}` : all,
    );
}
