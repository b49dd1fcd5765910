/**
 * The checkpoints of a run: `checkpoints/<name>.safetensors` and `checkpoints/manifest.json`, which says which is the
 * newest and the digest of each. A checkpoint is written whole before the manifest names it, and an old one, or
 * what a process that was killed left half written, is deleted only after that: at every moment the manifest names
 * files that are complete.
 */
import {existsSync, readdirSync, rmSync} from 'node:fs';
import path from 'node:path';

import {invalidInput, SdqError} from '../errors.ts';
import {fileError, readFileBounded, readTextBounded, sha256Of, writeFileAtomic} from '../files.ts';

interface Entry {
  readonly file: string;
  /** Hexadecimal SHA-256 of the file. */
  readonly sha256: string;
}

interface Manifest {
  readonly version: 1;
  /** Newest first: what `--resume` continues from. */
  readonly resume: readonly Entry[];
}

/** Checkpoints kept to resume from; the second is for a disk that corrupts the first. */
const checkpointsKept = 2;
const manifestLimitBytes = 1 << 20;

export interface Checkpoints {
  /** Saves a state to resume from. @throws SdqError (exit 6) when the disk refuses it; the older ones then stay. */
  save(name: string, content: Uint8Array): void;
  /**
   * The newest checkpoint whose digest is right, or undefined when there is none yet.
   * @param onDamaged told for each newer one that is damaged
   * @throws SdqError (exit 3) when there are some and all are damaged
   */
  latest(onDamaged: (message: string) => void): {readonly file: string; readonly content: Uint8Array} | undefined;
  /** Whether there is nothing to resume from. */
  isEmpty(): boolean;
  /** Removes what is there to resume from: the run is complete. */
  clear(): void;
}

const isEntry = (value: unknown): value is Entry => {
  const {file, sha256} = (value ?? {}) as Partial<Record<keyof Entry, unknown>>;
  return typeof file === 'string' && path.basename(file) === file && typeof sha256 === 'string';
};

/** @param beforeWrite throws where this process may no longer write */
export function openCheckpoints(directory: string, beforeWrite: () => void = () => undefined): Checkpoints {
  const manifestFile = path.join(directory, 'manifest.json');
  const readManifest = (): Manifest => {
    if (!existsSync(manifestFile)) return {version: 1, resume: []};
    const text = readTextBounded(manifestFile, manifestLimitBytes);
    try {
      const manifest = JSON.parse(text) as Manifest;
      if (Array.isArray(manifest.resume) && manifest.resume.every(isEntry)) return manifest;
    } catch {
      // falls through to the error below
    }
    throw invalidInput(
      'manifest-broken',
      `${manifestFile} is not a manifest of checkpoints: found ${JSON.stringify(text.slice(0, 40))}.`,
      ['The file was changed by hand or by another program; restore it or start a new run.'],
    );
  };
  const write = (resume: readonly Entry[]): void => {
    beforeWrite();
    writeFileAtomic(manifestFile, `${JSON.stringify({version: 1, resume} satisfies Manifest, null, 2)}\n`);
    const isNamed = (file: string): boolean => resume.some((entry) => entry.file === file);
    const isOld = (file: string): boolean => /^step-.*\.safetensors$/.test(file) && !isNamed(file);
    try {
      for (const file of readdirSync(directory)) {
        if (isOld(file)) rmSync(path.join(directory, file), {force: true});
      }
    } catch (error) {
      throw fileError(error, 'write', directory);
    }
  };
  return {
    save(name, content) {
      beforeWrite();
      const file = `step-${name}.safetensors`;
      writeFileAtomic(path.join(directory, file), content);
      const older = readManifest().resume.filter((entry) => entry.file !== file);
      write([{file, sha256: sha256Of(content)}, ...older].slice(0, checkpointsKept));
    },
    latest(onDamaged) {
      const {resume} = readManifest();
      for (const entry of resume) {
        const file = path.join(directory, entry.file);
        try {
          const content = readFileBounded(file);
          if (sha256Of(content) === entry.sha256) return {file, content};
          onDamaged(`${file} is damaged: its SHA-256 is not the one in manifest.json. Trying an older checkpoint.`);
        } catch (error) {
          if (!(error instanceof SdqError)) throw error;
          onDamaged(`${error.message} Trying an older checkpoint.`);
        }
      }
      if (resume.length === 0) return undefined;
      throw invalidInput(
        'checkpoints-damaged',
        `No checkpoint in ${directory} is usable: all ${resume.length} are missing or damaged.`,
        ['Start a new run.'],
      );
    },
    isEmpty: () => !existsSync(manifestFile) || readManifest().resume.length === 0,
    clear() {
      if (existsSync(directory)) write([]);
    },
  };
}
