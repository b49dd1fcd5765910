/** A cluster of one node: SLURM as Debian's packages `slurmctld`, `slurmd` and `slurm-client` have it, without munge and database. */
import {execFileSync, spawn, spawnSync, type ChildProcess} from 'node:child_process';
import {once} from 'node:events';
import {closeSync, mkdirSync, openSync, readFileSync, writeFileSync} from 'node:fs';
import {hostname} from 'node:os';
import path from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';

import {freePort} from './free-port.ts';

/** The daemons run as root only; the commands want a cluster even for their version. */
export const hasSlurm =
  process.getuid?.() === 0 &&
  ['slurmctld', 'slurmd', 'sbatch', 'scontrol'].every((program) => spawnSync(program, ['-V']).error === undefined);

export class Slurm {
  readonly #folder: string;
  readonly #cpus: number;
  readonly #daemons: ChildProcess[] = [];

  /** @param folder for the state, made by `start` @param cpus of the node; there may be fewer */
  constructor(folder: string, cpus: number) {
    this.#folder = folder;
    this.#cpus = cpus;
  }

  /** Two partitions: jobs of `high` preempt those of `low`, which are queued again. */
  async start(): Promise<void> {
    const at = (name: string): string => path.join(this.#folder, name);
    const host = hostname();
    for (const name of ['state', 'spool', 'log']) mkdirSync(at(name), {recursive: true});
    const [controller, node] = [await freePort(), await freePort()];
    writeFileSync(
      at('slurm.conf'),
      `ClusterName=test
SlurmctldHost=${host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
StateSaveLocation=${at('state')}
SlurmdSpoolDir=${at('spool')}
SlurmctldPidFile=${at('slurmctld.pid')}
SlurmdPidFile=${at('slurmd.pid')}
SlurmctldPort=${controller}
SlurmdPort=${node}
SlurmdParameters=config_overrides
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName=${host} NodeAddr=127.0.0.1 CPUs=${this.#cpus} CoresPerSocket=${this.#cpus} RealMemory=500 State=UNKNOWN
PartitionName=low Nodes=${host} Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=0
PartitionName=high Nodes=${host} MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
`,
    );
    for (const [program, ...args] of [['slurmctld'], ['slurmd', '-N', host]] as const) {
      const log = openSync(at(`log/${program}`), 'a');
      this.#daemons.push(spawn(program, ['-D', ...args], {env: this.#env(), stdio: ['ignore', log, log]}));
      closeSync(log);
    }
    for (let tries = 0; tries < 240; tries++) {
      const {stdout} = spawnSync('sinfo', ['-h', '-o', '%T'], {env: this.#env(), encoding: 'utf8'});
      if (stdout.includes('idle')) return;
      await sleep(250);
    }
    throw new Error(`SLURM did not start:\n${readFileSync(at('log/slurmctld'), 'utf8')}`);
  }

  /** @returns the id of the job */
  submit(args: readonly string[], cwd: string): string {
    return this.#run('sbatch', ['--parsable', ...args], cwd).trim();
  }

  /** States of the tasks of an array that are not over, by number: `RUNNING`, `COMPLETING`, `PENDING`. */
  tasks(job: string): ReadonlyMap<number, string> {
    const lines = this.#run('squeue', ['-h', '-r', '-j', job, '-o', '%K %T']).split('\n');
    return new Map(
      lines.filter((line) => line !== '').map((line) => [Number(line.split(' ')[0]), line.split(' ')[1] ?? '']),
    );
  }

  /** How often tasks of an array were queued again, added up. */
  restarts(job: string): number {
    const counts = this.#run('scontrol', ['show', 'job', '-o', job]).matchAll(/ Restarts=(\d+)/g);
    return [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
  }

  /** Takes the whole node for a moment: every task on it is preempted. */
  preempt(): void {
    this.submit(['-p', 'high', '-n', String(this.#cpus), '-o', '/dev/null', '--wrap', 'true'], this.#folder);
  }

  /** SLURM lets a preempted task wait for two minutes. */
  startNow(job: string, task: number): void {
    spawnSync('scontrol', ['update', `jobid=${job}_${task}`, 'StartTime=now'], {env: this.#env()});
  }

  async stop(): Promise<void> {
    spawnSync('scancel', ['-u', 'root'], {env: this.#env()});
    for (const daemon of this.#daemons.splice(0)) {
      if (daemon.exitCode !== null) continue;
      const ended = once(daemon, 'exit');
      daemon.kill('SIGTERM');
      // A controller with jobs that do not end does not end either.
      const patience = setTimeout(() => daemon.kill('SIGKILL'), 10_000);
      await ended;
      clearTimeout(patience);
    }
  }

  #env(): NodeJS.ProcessEnv {
    // Jobs have it too.
    return {...process.env, NODE_ENV: 'production', SLURM_CONF: path.join(this.#folder, 'slurm.conf')};
  }

  #run(program: string, args: readonly string[], cwd = this.#folder): string {
    return execFileSync(program, args, {cwd, encoding: 'utf8', env: this.#env(), stdio: ['ignore', 'pipe', 'ignore']});
  }
}
