"use strict";
// Keeps the page as the daemon has it: asks for it again, and puts what changed into what is shown. No text becomes markup here.
(() => {
  const every = 2000;
  const main = document.querySelector("main");
  const lost = document.getElementById("lost");
  let request = null;
  let stream = null;
  let soon = 0;
  let notBefore = 0;

  // What uPlot drew, what the pointer says, and what somebody folded stay as they are.
  const drawn = (node) => node.nodeType === Node.ELEMENT_NODE && (node.hasAttribute("data-plot") || node.className === "now" || node.id === "asof");

  // A server or an alert is the same wherever it stands; everything else is known by its place.
  const key = (node) => (node.id && node.id.startsWith("k-") ? node.id : "");

  function become(old, made) {
    if (old.nodeType === Node.TEXT_NODE) {
      if (old.data !== made.data) old.data = made.data;
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) return;
    for (const { name } of [...old.attributes]) if (name !== "open" && !made.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of [...made.attributes]) if (name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
    if (!drawn(old)) inside(old, made);
  }

  function inside(old, made) {
    const named = new Map([...old.children].filter(key).map((one) => [one.id, one]));
    let at = old.firstChild;
    for (const next of [...made.childNodes]) {
      let same = null;
      if (key(next)) same = named.get(next.id) ?? null;
      else if (at !== null && !key(at) && at.nodeName === next.nodeName) same = at;
      if (same === null) {
        old.insertBefore(document.importNode(next, true), at);
        continue;
      }
      if (same === at) at = at.nextSibling;
      else old.insertBefore(same, at);
      become(same, next);
    }
    while (at !== null) {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    }
  }

  function show(page) {
    const made = page.querySelector("main");
    const [was, is] = [document.getElementById("data"), page.getElementById("data")];
    become(main, made);
    document.title = page.title;
    if (was.textContent !== is.textContent) {
      was.textContent = is.textContent;
      document.dispatchEvent(new Event("plots"));
    }
    say("");
    const asof = document.getElementById("asof");
    if (asof !== null) asof.textContent = `· ${new Date().toLocaleTimeString()}`;
    if (main.className === "there") listen();
    else hush();
  }

  function say(text) {
    if (lost.textContent !== text) lost.textContent = text;
  }

  function ask() {
    if (request !== null || document.visibilityState !== "visible") return;
    request = new XMLHttpRequest();
    request.open("GET", location.pathname + location.search);
    // A document that is made this way runs no scripts.
    request.responseType = "document";
    request.timeout = 15000;
    request.onloadend = () => {
      const { status, responseXML } = request;
      request = null;
      if (status === 200 && responseXML !== null && responseXML.querySelector("main") !== null) show(responseXML);
      else say(`${status ? `sentinel serve answered ${status}` : "No answer from sentinel serve"}. It is asked again every 2 s; below is what was last known.`);
    };
    request.send();
  }

  function listen() {
    if (stream !== null || Date.now() < notBefore) return;
    let opened = false;
    stream = new EventSource("v1/events");
    stream.addEventListener("open", () => (opened = true));
    stream.addEventListener("transition", () => {
      clearTimeout(soon);
      soon = setTimeout(ask, 50);
    });
    // Of a stream that is refused the browser makes no second try; of one that never began, a page that asks anyway needs none soon.
    stream.addEventListener("error", () => {
      if (stream === null || stream.readyState !== EventSource.CLOSED) return;
      if (!opened) notBefore = Date.now() + 30000;
      stream = null;
    });
  }

  function hush() {
    if (stream !== null) stream.close();
    stream = null;
  }

  document.addEventListener("visibilitychange", ask);
  addEventListener("pagehide", hush);
  setInterval(ask, every);
  if (main.className === "there") listen();
})();
