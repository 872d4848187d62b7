/** The page: signs in, asks what the server is, and shows the view that the address names. */

import { Component, html, render, useEffect, useState } from "./lib.js";
import { signIn, signInByAddress } from "./api.js";
import { connection, ConnectionBar } from "./connection.js";
import { useData } from "./data.js";
import { Loading, Failed, Text, notYet } from "./parts.js";
import { to, useRoute, useTitle } from "./router.js";
import { useValue } from "./store.js";

/** Views by the first word of the address; each is loaded when it is first opened. */
const VIEWS = {
  jobs: { name: "Jobs", load: () => import("./jobs.js"), show: "JobsPage" },
  matrix: { name: "Matrix", load: () => import("./matrix.js"), show: "MatrixPage" },
  cells: { load: () => import("./cell.js"), show: "CellPage" },
  compare: { name: "Compare", load: () => import("./compare.js"), show: "ComparePage" },
  failures: { name: "Failures", load: () => import("./failures.js"), show: "FailuresPage" },
  robustness: { name: "Robustness", load: () => import("./robustness.js"), show: "RobustnessPage" },
  draw: { name: "Draw", load: () => import("./draw.js"), show: "DrawPage" },
  docs: { name: "Interface", load: () => import("./docs.js"), show: "DocsPage" },
};

function App() {
  const about = useData("/page");
  const { signedOut } = useValue(connection);
  const route = useRoute();
  const page = about.data;
  const first = page && page.mode === "serve" ? "jobs" : "matrix";
  const name = Object.hasOwn(VIEWS, route.view) ? route.view : first;
  const body = signedOut ? html`<${SignIn} />` : notYet(about) || html`<${View} key=${name} name=${name} page=${page} route=${route} />`;
  return html`<a class="skip" href="#main" onClick=${skip}>Skip to the content</a>
    <${Top} page=${page} now=${name} />
    <${ConnectionBar} />
    <main id="main" tabindex="-1">${body}</main>`;
}

/** The fragment is the address of the view, so that the skip link moves the focus by itself. */
function skip(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}

function Top({ page, now }) {
  const shown = Object.entries(VIEWS).filter(([id, view]) => view.name && (id !== "jobs" || !page || page.jobs) && (id !== "draw" || !page || page.draw));
  return html`<header class="top">
    <a class="brand" href=${to("")}><img src="/page/icon.svg" alt="" width="24" height="24" /> <span>stn-cluster</span></a>
    <nav class="views" aria-label="Views"><ul>${shown.map(([id, view]) => html`<li key=${id}><a href=${to(id, id === "matrix" && page && page.job ? { job: page.job } : {})} aria-current=${id === now ? "page" : id === "matrix" && now === "cells" ? "true" : undefined}>${view.name}</a></li>`)}</ul></nav>
    ${page && html`<p class="store" title=${page.store}><span class="soft">${page.read_only ? "read-only" : page.mode}</span> <bdi>${page.store}</bdi></p>`}
  </header>`;
}

function View({ name, page, route }) {
  const [module, setModule] = useState(null);
  const [missing, setMissing] = useState(null);
  useEffect(() => {
    VIEWS[name].load().then((loaded) => setModule(() => loaded[VIEWS[name].show]), setMissing);
  }, [name]);
  if (missing) return html`<p class="problem" role="alert">This view is not part of this server, or could not be loaded: <${Text} text=${String(missing.message || missing)} /></p>`;
  if (!module) return html`<${Loading} />`;
  const Shown = module;
  return html`<${Guard} key=${name}><${Shown} page=${page} route=${route} /></${Guard}>`;
}

/** Says what went wrong where a view's code fails, and keeps the rest of the page. */
class Guard extends Component {
  constructor(props) {
    super(props);
    this.state = { error: null };
  }

  componentDidCatch(error) {
    console.error(error);
    this.setState({ error });
  }

  render({ children }, { error }) {
    if (!error) return children;
    return html`<${Failed} error=${{ status: 0, message: `${error}` }} retry=${() => this.setState({ error: null })} />`;
  }
}

function SignIn() {
  useTitle("Sign in");
  const [problem, setProblem] = useState(null);
  const send = async (event) => {
    event.preventDefault();
    try {
      await signIn(new FormData(event.currentTarget).get("token").trim());
    } catch (error) {
      setProblem(error.message);
    }
  };
  return html`<form class="sign-in" onSubmit=${send}>
    <h1>A token is needed</h1>
    <p>The command that started this server printed its address with a token. Open that address, or paste the token here.</p>
    <label>Token <input name="token" type="password" required autocomplete="off" /></label>
    ${problem && html`<p class="problem" role="alert"><${Text} text=${problem} /></p>`}
    <button type="submit" class="primary">Sign in</button>
  </form>`;
}

// The printed address may be opened where the page already is: then only the fragment changes.
window.addEventListener("hashchange", signInByAddress);
signInByAddress().then(() => {
  const root = document.getElementById("app");
  root.replaceChildren();
  render(html`<${App} />`, root);
});
