/** The journal of a run for a tracker that reads it by itself: for a log of its own, or for what the server has lost. */

import {followJournal, journalOf, readJournal, type Event, type JournalReader} from '../runs/journal.ts';
import type {TrackedRun} from '../plugin-api/tracker.ts';

const chunkEvents = 1000;

/** Reads from the beginning, and on as the journal grows. @throws SdqError (exit 3) when it cannot be read */
export function followRun(run: TrackedRun): JournalReader {
  return followJournal(journalOf(run.directory));
}

/** The events up to number `seq`, in lists of a thousand. @throws SdqError (exit 3) when the journal is broken */
export function* eventsUpTo(run: TrackedRun, seq: number): Generator<readonly Event[]> {
  let chunk: Event[] = [];
  for (const event of readJournal(journalOf(run.directory))) {
    if (event.seq > seq) break;
    chunk.push(event);
    if (chunk.length < chunkEvents) continue;
    yield chunk;
    chunk = [];
  }
  if (chunk.length > 0) yield chunk;
}
