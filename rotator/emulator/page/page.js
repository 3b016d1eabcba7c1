"use strict";

// Everything is set as text, so nothing of the document can become markup.
function make(tag, text, ...children) {
  const element = document.createElement(tag);
  if (text) element.textContent = text;
  element.append(...children);
  return element;
}

function classed(name, element) {
  element.className = name;
  return element;
}

function lookUp(api, thing) {
  if (!thing || !thing.$ref) return thing;
  return thing.$ref.slice(2).split("/").reduce((inside, key) => inside[key], api);
}

// A schema without its references: what a reader wants to see.
function inline(api, schema) {
  if (Array.isArray(schema)) return schema.map((item) => inline(api, item));
  if (schema === null || typeof schema !== "object") return schema;
  return Object.fromEntries(Object.entries(lookUp(api, schema)).map(([key, value]) => [key, inline(api, value)]));
}

function schemas(api, content) {
  const byText = new Map();
  for (const [type, media] of Object.entries(content || {})) {
    const text = JSON.stringify(inline(api, media.schema), null, 2);
    byText.set(text, [...(byText.get(text) || []), type]);
  }
  return [...byText].map(([text, types]) =>
    make("details", "", make("summary", types.join(", ")), classed("inside", make("div", "", make("pre", text)))));
}

function terms(pairs) {
  const list = make("dl");
  for (const [name, ...about] of pairs) list.append(make("dt", name), make("dd", "", ...about));
  return list;
}

function describe(api, path, method, operation) {
  const inside = classed("inside", make("div"));
  if (operation.description) inside.append(make("p", operation.description));
  const ways = operation.security.map((way) => Object.keys(way)
    .map((name) => api.components.securitySchemes[name])
    .map((scheme) => scheme.in ? `${scheme.in} parameter ${scheme.name}` : `${scheme.scheme} authentication`)
    .join(" and "));
  inside.append(classed("soft", make("p", `Credentials: ${ways.join(", or ")}.`)));
  const parameters = (operation.parameters || []).map((parameter) => lookUp(api, parameter));
  if (parameters.length) {
    inside.append(make("h4", "Parameters"), terms(parameters.map((it) => [it.name, it.description])));
  }
  if (operation.requestBody) inside.append(make("h4", "Body"), ...schemas(api, operation.requestBody.content));
  inside.append(make("h4", "Answers"), terms(Object.entries(operation.responses).map(([status, response]) => {
    const answer = lookUp(api, response);
    return [status, answer.description, ...schemas(api, answer.content)];
  })));
  const summary = make("summary", "", classed("method", make("span", method.toUpperCase())), make("code", path),
    classed("soft", make("div", operation.summary)));
  const details = make("details", "", summary, inside);
  details.id = operation.operationId;
  return details;
}

async function show() {
  const overview = document.getElementById("overview");
  try {
    const api = await (await fetch("/openapi.json")).json();
    document.getElementById("title").textContent = api.info.title;
    overview.textContent = api.info.description;
    const place = document.getElementById("operations");
    for (const tag of api.tags) {
      place.append(make("h2", tag.name), classed("soft", make("p", tag.description)));
      for (const [path, methods] of Object.entries(api.paths)) {
        for (const [method, operation] of Object.entries(methods)) {
          if (operation.tags.includes(tag.name)) place.append(describe(api, path, method, operation));
        }
      }
    }
    if (location.hash) document.getElementById(location.hash.slice(1))?.setAttribute("open", "");
  } catch (error) {
    overview.textContent = `openapi.json could not be shown: ${error.message}`;
  }
}

show();
