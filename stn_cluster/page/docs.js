/** The view of the interface, made from /v1/openapi.json. */

import { html, useMemo, useState } from "./lib.js";
import { useData } from "./data.js";
import { Command, Download, Heading, notYet } from "./parts.js";
import { useTitle } from "./router.js";

export function DocsPage() {
  useTitle("Interface");
  const loaded = useData("/v1/openapi.json");
  const [wanted, setWanted] = useState("");
  const groups = useMemo(() => (loaded.data ? groupsOf(loaded.data) : []), [loaded.data]);
  const problem = notYet(loaded, "the interface");
  if (problem) return html`<${Heading}>Interface</${Heading}>${problem}`;
  const small = wanted.toLowerCase();
  const shown = groups.map(([tag, routes]) => [tag, routes.filter((one) => `${one.method} ${one.path} ${one.about}`.toLowerCase().includes(small))]).filter(([, routes]) => routes.length);
  return html`<${Heading}>Interface</${Heading}>
    <p>${loaded.data.info.summary} Version ${loaded.data.info.version}. Everything that this page shows comes from here; <code>stn-cluster</code> and its Python client use the same. With a token: <code>Authorization: Bearer TOKEN</code>.</p>
    <${Command} text=${`curl -s -H "Authorization: Bearer $STN_CLUSTER_TOKEN" ${window.location.origin}/v1/matrix`} />
    <p><label class="select">Search <input type="search" value=${wanted} onInput=${(event) => setWanted(event.currentTarget.value)} /></label> <${Download} path="/openapi.json" name="openapi.json">openapi.json</${Download}></p>
    ${shown.map(([tag, routes]) => html`<section key=${tag}><h2>${tag}</h2>${routes.map((one) => html`<${Route} key=${`${one.method} ${one.path}`} route=${one} schemas=${loaded.data.components?.schemas || {}} />`)}</section>`)}
    ${!shown.length && html`<p class="soft">Nothing matches.</p>`}`;
}

function groupsOf(page) {
  const groups = new Map();
  for (const [path, methods] of Object.entries(page.paths)) {
    for (const [method, route] of Object.entries(methods)) {
      const tag = (route.tags || ["other"])[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push({ ...route, path, method: method.toUpperCase(), about: route.description || route.summary || "" });
    }
  }
  return [...groups];
}

function Route({ route, schemas }) {
  const body = route.requestBody && Object.values(route.requestBody.content)[0].schema;
  const answers = Object.entries(route.responses || {}).filter(([code]) => code < "400");
  const errors = Object.keys(route.responses || {}).filter((code) => code >= "400");
  return html`<details class="route"><summary><span class="method">${route.method}</span> <code>${route.path}</code> <span class="soft">${route.about.split(/(?<=[.:])\s/)[0]}</span></summary>
    <p>${route.about}</p>
    ${route.parameters && route.parameters.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label="Parameters"><table><thead><tr><th scope="col">parameter</th><th scope="col">in</th><th scope="col">type</th><th scope="col">about</th></tr></thead><tbody>
      ${route.parameters.map((one) => html`<tr key=${one.name}><td><code>${one.name}</code>${one.required && html`<small>required</small>`}</td><td>${one.in}</td><td><code>${typeOf(one.schema)}</code></td><td>${one.description || one.schema?.description || ""}</td></tr>`)}</tbody></table></div>`}
    ${body && html`<h3>Body</h3><pre tabindex="0">${shape(body, schemas)}</pre>`}
    ${answers.map(([code, answer]) => {
      const [media, content] = Object.entries(answer.content || {})[0] || [];
      return html`<div key=${code}><h3>${code}${media ? `, ${Object.keys(answer.content).join(", ")}` : ""}</h3>${content && content.schema && Object.keys(content.schema).length > 0 && media === "application/json" && html`<pre tabindex="0">${shape(content.schema, schemas)}</pre>`}</div>`;
    })}
    ${errors.length > 0 && html`<p class="note">Errors (${errors.join(", ")}): <code>{"error": {"code", "message", "field"}}</code></p>`}
  </details>`;
}

/** A schema's type in few words. */
export function typeOf(schema) {
  if (!schema) return "any";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  const several = schema.anyOf || schema.oneOf;
  if (several) return [...new Set(several.map(typeOf))].join(" | ");
  if (schema.type === "array") return `[${typeOf(schema.items)}]`;
  return schema.type || "any";
}

/** A schema as an outline: a field a line, two levels deep. */
export function shape(schema, schemas, depth = 0) {
  const name = schema.$ref && schema.$ref.split("/").pop();
  const real = name ? schemas[name] || {} : schema;
  if (real.type === "array" && real.items) return `[${shape(real.items, schemas, depth)}]`;
  if (!real.properties || depth > 1) return typeOf(schema);
  const pad = "  ".repeat(depth + 1);
  const lines = Object.entries(real.properties).map(([field, one]) => {
    const optional = (real.required || []).includes(field) ? "" : "?";
    return `${pad}${field}${optional}: ${one.$ref || one.type === "array" ? shape(one, schemas, depth + 1) : typeOf(one)}`;
  });
  return `{\n${lines.join("\n")}\n${"  ".repeat(depth)}}`;
}
