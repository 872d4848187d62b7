/** Sends the newest of many requests: not too often, one at a time, and the last one always. */

/**
 * @typedef {{push: (body: any) => void, drop: () => void}} Sender
 * @param {{send: (body: any, signal: AbortSignal) => Promise<any>, onAnswer: (answer: any, body: any) => void,
 *   onProblem: (error: any) => void, gap?: number}} given gap: least time between two requests, in ms
 * @returns {Sender} push: sends this, unless a newer one comes first; drop: forgets what waits, and
 *   the answer that is awaited
 */
export function makeSender({ send, onAnswer, onProblem, gap = 60 }) {
  let waiting = null;
  let flying = null; // of the request that is not answered yet
  let timer = 0;
  let next = 0; // when the next one may be sent

  function go() {
    if (waiting === null || flying || timer) return;
    const wait = next - performance.now();
    if (wait > 0) {
      timer = setTimeout(() => {
        timer = 0;
        go();
      }, wait);
      return;
    }
    fly(waiting);
  }

  async function fly(body) {
    const own = new AbortController();
    flying = own;
    waiting = null;
    next = performance.now() + gap;
    try {
      const answer = await send(body, own.signal);
      if (!own.signal.aborted) onAnswer(answer, body);
    } catch (error) {
      if (own.signal.aborted) return;
      if (error.status === 429) { // too many at once: again after a while, if nothing newer has come
        next = performance.now() + 1000;
        if (waiting === null) waiting = body;
      } else {
        onProblem(error);
      }
    } finally {
      if (flying === own) flying = null;
      go();
    }
  }

  return {
    push(body) {
      waiting = body;
      go();
    },
    drop() {
      waiting = null;
      clearTimeout(timer);
      timer = 0;
      if (flying) flying.abort();
      flying = null;
    },
  };
}
