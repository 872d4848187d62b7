/** A job's event stream, resumed after the last event wherever it broke off. */

import { address } from "./api.js";
import { answered, connection, notAnswered, setSignedOut, setTrouble } from "./connection.js";
import { sessionHeaders } from "./session_key.js";

const LONGEST_WAIT = 10_000; // ms
const SILENCE = 45_000; // ms; the server sends something every 15 s

/**
 * Events of a text of the stream, and the rest, which is not a whole event yet.
 * @param {string} text
 * @returns {{events: {id: string | null, data: string}[], rest: string}}
 */
export function parsed(text) {
  const blocks = text.replace(/\r\n?/g, "\n").split("\n\n");
  const rest = blocks.pop();
  const events = [];
  for (const block of blocks) {
    let id = null;
    const data = [];
    for (const line of block.split("\n")) {
      if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
      else if (line.startsWith("id:")) id = line.slice(3).trim();
    }
    if (data.length) events.push({ id, data: data.join("\n") });
  }
  return { events, rest };
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/**
 * Follows a job until it ends or the following is stopped. An EventSource would not resume after
 * the server answered with an error while it started, and cannot say why.
 * @param {string} jobId
 * @param {(status: any) => void} see is told each status, with the cells that have changed
 * @returns {() => void} stops it
 */
export function follow(jobId, see) {
  const stop = new AbortController();
  let last = null;
  let wait = 500;

  const run = async () => {
    while (!stop.signal.aborted) {
      const ended = await once().catch(() => false);
      if (ended || stop.signal.aborted) return;
      await pause(wait);
      while (connection.get().lost !== null) await pause(200); // its health is asked for already
      wait = Math.min(wait * 2, LONGEST_WAIT);
    }
  };

  const once = async () => {
    const silent = new AbortController();
    const give_up = () => silent.abort();
    let timer = setTimeout(give_up, SILENCE);
    stop.signal.addEventListener("abort", give_up);
    try {
      const headers = { ...sessionHeaders(), Accept: "text/event-stream", ...(last === null ? {} : { "Last-Event-ID": last }) };
      const response = await fetch(address(`/jobs/${encodeURIComponent(jobId)}/events`), { headers, signal: silent.signal });
      answered();
      if (response.status === 401) setSignedOut(true);
      if (!response.ok) return response.status === 404 || response.status === 401;
      return await read(response.body.getReader(), () => {
        clearTimeout(timer);
        timer = setTimeout(give_up, SILENCE);
      });
    } catch (error) {
      if (!stop.signal.aborted) notAnswered();
      throw error;
    } finally {
      clearTimeout(timer);
      stop.signal.removeEventListener("abort", give_up);
    }
  };

  const read = async (reader, heard) => {
    const decoder = new TextDecoder();
    let text = "";
    let state = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return ["succeeded", "failed", "cancelled"].includes(state);
      heard();
      const found = parsed(text + decoder.decode(value, { stream: true }));
      text = found.rest;
      for (const event of found.events) {
        const status = JSON.parse(event.data);
        if (event.id !== null) last = event.id;
        wait = 500;
        state = status.trouble ? "" : status.state;
        setTrouble(status.trouble || null);
        see(status);
      }
    }
  };

  run();
  return () => stop.abort();
}
