/** A server on loopback around a made-up service, which answers as badly as a test asks for. */
import {createServer, type Server} from 'node:http';
import type {AddressInfo, Socket} from 'node:net';

export interface Request {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

export interface Reply {
  readonly status: number;
  readonly body: string;
}

export type Fault =
  /** Refuses with this status, the service does not hear of it. */
  | {readonly status: number; readonly retryAfter?: number}
  /** `reset`: cut before the service hears of it; `lost`: the service did its work and the answer is lost; `half`: it is cut in the middle. */
  | 'reset'
  | 'lost'
  | 'half'
  /** Neither heard nor answered. */
  | 'silent'
  /** Answered after this time. */
  | {readonly delayMs: number}
  /** The service did its work; the answer is a page of a proxy. */
  | 'wrong-json';

export interface FaultyServer {
  readonly url: () => string;
  /** Every request, also those that met a fault. */
  readonly requests: Request[];
  /** What goes wrong with a request; undefined: nothing. @param n counts from 0 since it was set */
  setFault(fault: ((request: Request, n: number) => Fault | undefined) | undefined): void;
  /** Refuses connections from now on and cuts those that are open. */
  stop(): Promise<void>;
  /** Listens, again on the same port. */
  start(): Promise<void>;
}

export function faultyServer(service: (request: Request) => Reply): FaultyServer {
  let fault: ((request: Request, n: number) => Fault | undefined) | undefined;
  let count = 0;
  let port = 0;
  let server: Server | undefined;
  const sockets = new Set<Socket>();
  const requests: Request[] = [];

  const create = (): Server =>
    createServer((incoming, outgoing) => {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
      incoming.on('error', () => undefined);
      incoming.on('end', () => {
        const request: Request = {
          method: incoming.method ?? '',
          path: incoming.url ?? '',
          headers: incoming.headers,
          body: Buffer.concat(chunks),
        };
        requests.push(request);
        const wrong = fault?.(request, count++);
        const answer = ({body, status}: Reply, headers: Readonly<Record<string, string>> = {}): void => {
          outgoing.writeHead(status, {'content-type': 'application/json', ...headers}).end(body);
        };
        if (wrong === 'silent') return;
        if (wrong === 'reset') {
          outgoing.destroy();
          return;
        }
        if (typeof wrong === 'object' && 'status' in wrong) {
          const headers = wrong.retryAfter === undefined ? {} : {'retry-after': String(wrong.retryAfter)};
          answer({status: wrong.status, body: '{"message": "a made fault"}'}, headers);
          return;
        }
        const reply = service(request);
        if (wrong === 'lost') outgoing.destroy();
        else if (wrong === 'wrong-json') answer({status: 200, body: '<html>Sign in to the network</html>'});
        else if (wrong === 'half') {
          outgoing.writeHead(reply.status, {'content-length': Buffer.byteLength(reply.body) + 10});
          outgoing.write(reply.body.slice(0, Math.ceil(reply.body.length / 2)), () => outgoing.destroy());
        } else if (wrong === undefined) answer(reply);
        else setTimeout(() => answer(reply), wrong.delayMs);
      });
    });

  return {
    url: () => `http://127.0.0.1:${port}`,
    requests,
    setFault(next) {
      fault = next;
      count = 0;
    },
    async stop() {
      const closing = server;
      server = undefined;
      for (const socket of sockets) socket.destroy();
      if (closing !== undefined) await new Promise((resolve) => closing.close(resolve));
    },
    async start() {
      const opening = create();
      opening.on('connection', (socket) => {
        sockets.add(socket);
        socket.on('close', () => sockets.delete(socket));
      });
      await new Promise<void>((resolve) => opening.listen(port, '127.0.0.1', resolve));
      ({port} = opening.address() as AddressInfo);
      server = opening;
    },
  };
}
