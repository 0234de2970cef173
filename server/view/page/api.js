// Questions to the API, through the viewer. What goes wrong has words.

const kSlow = 4000;  // milliseconds until the page says that it waits

export class ApiError extends Error {
  constructor(kind, text, status = 0, retryAfter = 0) {
    super(text);
    this.kind = kind;  // down, busy, refused, broken, aborted
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** Told of how the API is: "well", "down", "busy" (with seconds to wait) or "slow". */
export const apiState = new EventTarget();

function tell(state, detail = {}) {
  apiState.dispatchEvent(new CustomEvent('change', {detail: {state, ...detail}}));
}

async function words(response) {
  try {
    const body = await response.json();
    return typeof body.error === 'string' ? body.error : '';
  } catch {
    return '';
  }
}

/** The answer to a request, when it is one of success. Throws ApiError. */
export async function ask(path, {method = 'GET', body, type, signal, quiet = false} = {}) {
  const slow = quiet ? 0 : setTimeout(() => tell('slow'), kSlow);
  let response;
  try {
    response = await fetch(`api/${path}`, {method, body, signal,
      headers: type ? {'Content-Type': type} : {}});
  } catch (error) {
    if (error.name === 'AbortError') throw new ApiError('aborted', 'stopped');
    tell('down', {text: 'the viewer itself does not answer'});
    throw new ApiError('down', 'the connection was lost');
  } finally {
    clearTimeout(slow);
  }
  if (response.ok) {
    tell('well');
    return response;
  }
  const text = await words(response);
  if (response.status === 502 || response.status === 504) {
    tell('down', {text});
    throw new ApiError('down', text || 'the API does not answer', response.status);
  }
  if (response.status === 503) {
    const wait = Math.min(Math.max(Number(response.headers.get('Retry-After')) || 1, 1), 30);
    tell('busy', {wait, text});
    throw new ApiError('busy', text || 'the API is busy', 503, wait);
  }
  tell('well');
  if (response.status === 401) {
    throw new ApiError('refused', 'the API wants a token: start the viewer with --token-file', 401);
  }
  throw new ApiError('refused', text || `the API answered ${response.status}`, response.status);
}

const pause = (milliseconds, signal) => new Promise((resolve, reject) => {
  const timer = setTimeout(resolve, milliseconds);
  signal?.addEventListener('abort', () => {
    clearTimeout(timer);
    reject(new ApiError('aborted', 'stopped'));
  });
});

/** As ask(), again as long as the API is busy: it says how long to wait. */
export async function askPatiently(path, options = {}, tries = 20) {
  for (;;) {
    try {
      return await ask(path, options);
    } catch (error) {
      if (error.kind !== 'busy' || --tries <= 0) throw error;
      await pause(1000 * error.retryAfter, options.signal);
    }
  }
}

export async function askJson(path, options) {
  const response = await askPatiently(path, options);
  try {
    return await response.json();
  } catch (error) {
    if (error.name === 'AbortError') throw new ApiError('aborted', 'stopped');
    throw new ApiError('broken', 'the answer is not JSON: is this the API of Macadam?');
  }
}

/** "queue;dur=1.5, infer;dur=20" as {queue: 1.5, infer: 20}. */
export function readTiming(response) {
  const timing = {};
  for (const entry of (response.headers.get('Server-Timing') ?? '').split(',')) {
    const [, name, value] = /^\s*(\w+);dur=([\d.]+)/.exec(entry) ?? [];
    if (name) timing[name] = Number(value);
  }
  return timing;
}

/** The parts of multipart/mixed: [{type, bytes}]. */
function readParts(contentType, bytes) {
  const boundary = /boundary="?([^";]+)/.exec(contentType)?.[1];
  if (!boundary) throw new ApiError('broken', 'an answer in parts without a boundary');
  const mark = new TextEncoder().encode(`--${boundary}`);
  const find = (needle, from) => {
    outer: for (let i = from; i <= bytes.length - needle.length; ++i) {
      for (let j = 0; j < needle.length; ++j) if (bytes[i + j] !== needle[j]) continue outer;
      return i;
    }
    return -1;
  };
  const gap = new TextEncoder().encode('\r\n\r\n');
  const parts = [];
  for (let at = find(mark, 0); at >= 0;) {
    const next = find(mark, at + mark.length);
    if (next < 0) break;
    const body = find(gap, at);
    if (body < 0 || body > next) break;
    const head = new TextDecoder().decode(bytes.subarray(at + mark.length, body));
    parts.push({type: /content-type:\s*([^\r\n;]+)/i.exec(head)?.[1] ?? '',
      bytes: bytes.subarray(body + gap.length, next - 2)});
    at = next;
  }
  return parts;
}

/** Mask and confidence of an answer: PNGs as bytes, with the stages' milliseconds. */
export async function readSegmentation(response) {
  const type = response.headers.get('Content-Type') ?? '';
  const bytes = new Uint8Array(await response.arrayBuffer());
  const parts = type.startsWith('multipart/') ? readParts(type, bytes) : [{type, bytes}];
  if (parts.length === 0 || parts[0].type !== 'image/png') {
    throw new ApiError('broken', 'the answer is no mask: is this the API of Macadam?');
  }
  return {mask: parts[0].bytes, confidence: parts[1]?.bytes ?? null, timing: readTiming(response),
    batch: Number(response.headers.get('X-Batch-Size')) || 1, model: response.headers.get('X-Model')};
}
