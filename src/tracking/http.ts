/** HTTP as a tracker needs it: failures as `TrackerError`s, answers as JSON. */
import type {HttpClient} from '../http/client.ts';
import type {HttpRequest, HttpResponse} from '../http/message.ts';
import {detail, HttpError} from '../http/error.ts';
import {isMapping} from '../mapping.ts';
import {TrackerError} from '../plugin-api/tracker.ts';

/**
 * @returns the answer, of a 2xx status and complete
 * @throws TrackerError transient: no connection, no or half an answer, 5xx, 408, 425, 429; permanent: other statuses
 */
export async function sendRequest(client: HttpClient, request: HttpRequest): Promise<HttpResponse> {
  try {
    return await client.send(request);
  } catch (error) {
    if (!(error instanceof HttpError)) throw error;
    const {isTransient, message, retryAfterMs, status} = error;
    throw new TrackerError(message, {kind: isTransient ? 'transient' : 'permanent', status, retryAfterMs});
  }
}

/** @throws TrackerError (transient) when the answer is not JSON: something between us and the server answered */
export function jsonOf(response: HttpResponse, where: string): Readonly<Record<string, unknown>> {
  const text = response.body.toString('utf8');
  try {
    const value = JSON.parse(text) as unknown;
    if (isMapping(value)) return value;
  } catch {
    // falls through to the error below
  }
  throw new TrackerError(`${where}: the answer is not the expected JSON${detail(text)}`, {kind: 'transient'});
}
