"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";
  const NAMES = { exact: "Exact", core: "Core nodes" };
  const NOTES = {
    exact: "With our node pack: the same numbers as A1111.",
    core: "With ComfyUI's own nodes alone, where our pack cannot be installed.",
  };
  const ENDPOINTS = [ // the first whose fields a payload has is where it belongs
    ["/sdapi/v1/img2img", ["init_images"]],
    ["/sdapi/v1/extra-batch-images", ["imageList"]],
    ["/controlnet/detect", ["controlnet_input_images"]],
    ["/sdapi/v1/extra-single-image", ["image"]],
    ["/sdapi/v1/txt2img", []],
  ];
  const WIRES = {
    MODEL: "#b39ddb", CLIP: "#e6c229", VAE: "#ff6e6e", CONDITIONING: "#ffa931", LATENT: "#ff9cf9",
    IMAGE: "#64b5f6", MASK: "#81c784", CONTROL_NET: "#00d78d", SIGMAS: "#cdffcd", NOISE: "#b0b0b0",
    SAMPLER: "#ece8c9", GUIDER: "#66ffff", UPSCALE_MODEL: "#c0d8a0",
  };
  const EXAMPLE = {
    prompt: "a lighthouse on a cliff, (dramatic sky:1.2)", negative_prompt: "blurry", steps: 20,
    sampler_name: "DPM++ 2M", scheduler: "Karras", width: 512, height: 512, seed: 1,
  };
  let pictures = new Map(); // text that stands for a picture in the field -> the picture in base64
  let shown = null; // the job that is shown: {endpoint, payload, options}

  // --- small helpers -----------------------------------------------------------------------------

  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "onclick") made.addEventListener("click", value);
      else if (value !== null && value !== false) made.setAttribute(name, value);
    }
    made.append(...children.filter((child) => child !== null));
    return made;
  }

  function drawn(tag, attributes = {}, text = null) {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text !== null) made.textContent = text;
    return made;
  }

  function count(number, word) {
    return `${number} ${word}${number === 1 ? "" : "s"}`;
  }

  function cut(text, length) {
    return text.length > length ? `${text.slice(0, length - 1)}…` : text;
  }

  function save(name, value) {
    const text = typeof value === "string" ? value : JSON.stringify(value, null, 1);
    const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    element("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  }

  function say(text, bad = false) {
    $("status").textContent = text;
    $("status").className = bad ? "bad" : "";
  }

  const fieldId = (path) => `field-${path}`;

  /** The field that a path is about: itself, else the first below it, else what it lies in. */
  function fieldOf(path, fields) {
    const known = fields.map(([name]) => name);
    if (known.includes(path)) return path;
    const below = known.find((name) => name.startsWith(`${path}.`) || name.startsWith(`${path}[`));
    if (below) return below;
    let outer = path;
    while (outer) {
      outer = outer.replace(/(\[\d+\]|\.?[^.[\]]+)$/, "");
      const near = known.find((name) => name === outer || name.startsWith(`${outer}.`) || name.startsWith(`${outer}[`));
      if (outer && near) return near;
    }
    return null;
  }

  // --- what was said ------------------------------------------------------------------------------

  function said(item, kind, fields) {
    const field = item.path ? fieldOf(item.path, fields) : null;
    const where = field
      ? element("a", { href: `#${encodeURIComponent(fieldId(field))}`, onclick: (event) => jump(event, field) }, item.path)
      : item.path;
    const word = kind === "problem" ? "Refused" : "Differs";
    return element("li", { class: `said ${kind}` }, element("b", {}, word), " ",
      ...(item.path ? [element("code", {}, where), ": "] : []), item.message);
  }

  function jump(event, field) {
    event.preventDefault();
    const row = $(fieldId(field));
    document.querySelectorAll(".fields .lit").forEach((other) => other.classList.remove("lit"));
    row.classList.add("lit");
    row.closest("details").open = true;
    row.scrollIntoView({ block: "center" });
    row.focus();
  }

  function verdict(name, target) {
    const refused = target.problems.length > 0;
    const text = refused
      ? `Refused: ${count(target.problems.length, "problem")}`
      : `Runs: ${count(Object.keys(target.graph).length, "node")}, ` +
        (target.warnings.length ? count(target.warnings.length, "difference") : "no differences");
    return element("p", { class: `verdict ${refused ? "bad" : "good"}` }, text);
  }

  function fieldTable(view) {
    const notes = new Map();
    const add = (item, kind, target) => {
      const field = item.path ? fieldOf(item.path, view.fields) : null;
      if (field === null) return;
      const found = notes.get(field) || new Map();
      const key = `${kind} ${item.message}`;
      found.set(key, { item, kind, targets: [...(found.get(key)?.targets || []), NAMES[target]] });
      notes.set(field, found);
    };
    for (const [name, target] of Object.entries(view.targets)) {
      target.problems.forEach((item) => add(item, "problem", name));
      (target.warnings || []).forEach((item) => add(item, "warning", name));
    }
    const body = element("tbody");
    for (const [path, value] of view.fields) {
      const cell = element("td", {}, element("span", { class: "mono" }, value));
      for (const { item, kind, targets } of (notes.get(path) || new Map()).values()) {
        cell.append(element("div", { class: `said ${kind}` },
          element("b", {}, `${kind === "problem" ? "Refused" : "Differs"}${among(targets, view)}`), " ", item.message));
      }
      body.append(element("tr", { id: fieldId(path), tabindex: "-1" },
        element("th", { scope: "row", class: "mono" }, path || "(the request)"), cell));
    }
    const noted = notes.size ? `, ${notes.size} with a remark` : "";
    return element("details", { open: notes.size ? "" : null },
      element("summary", {}, `Fields of the request (${view.fields.length}${noted})`),
      element("table", { class: "fields" },
        element("thead", { class: "hidden" }, element("tr", {}, element("th", {}, "field"), element("th", {}, "value and remarks"))),
        body));
  }

  /** Which ways a remark is about, where it is not about all. */
  function among(targets, view) {
    const all = new Set(targets).size === Object.keys(view.targets).length;
    return all || view.refusedAlike ? "" : ` (${[...new Set(targets)].join(", ")})`;
  }

  // --- the graph ----------------------------------------------------------------------------------

  const ROW = 24, TITLE = 30;

  function graph(target, name) {
    const { groups, nodes, links } = target.drawing;
    const width = Math.max(...groups.map(({ box }) => box[0] + box[2])) + 20;
    const height = Math.max(...groups.map(({ box }) => box[1] + box[3])) + 20;
    const svg = drawn("svg", { viewBox: `-10 -10 ${width} ${height}`, role: "group", "aria-label": `Graph, ${NAMES[name]}` });
    groups.forEach(({ title, box: [x, y, w, h] }) => {
      svg.append(drawn("rect", { class: "group", x, y, width: w, height: h, rx: 12 }),
        drawn("text", { class: "group-title", x: x + 20, y: y + 34 }, title));
    });
    const wires = links.map(([from, output, to, input, type]) => {
      const [x1, y1] = port(nodes[from], output), [x2, y2] = entry(nodes, links, to, input);
      const bend = Math.max(40, Math.abs(x2 - x1) / 2);
      const wire = drawn("path", {
        d: `M${x1} ${y1} C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`, stroke: WIRES[type] || "#9e9e9e",
      });
      wire.append(drawn("title", {}, `${type}: ${nodes[from].title} to ${input} of ${nodes[to].title}`));
      svg.append(wire);
      return { from, to, wire };
    });
    for (const [id, node] of Object.entries(nodes)) svg.append(box(id, node, links, wires, svg));
    const frame = element("div", { class: "graph", tabindex: "0", role: "region", "aria-label": `Graph with ${NAMES[name]}, scrolls` }, svg);
    return element("div", {}, zoom(svg, frame, width, height), frame);
  }

  const port = (node, output) => [node.box[0] + node.box[2], node.box[1] + TITLE + ROW * (output + 0.6)];

  function entry(nodes, links, to, input) {
    const names = links.filter((link) => link[2] === to).map((link) => link[3]);
    const [x, y] = nodes[to].box;
    return [x, y + TITLE + ROW * (names.indexOf(input) + 0.6)];
  }

  function box(id, node, links, wires, svg) {
    const [x, y, w, h] = node.box;
    const incoming = links.filter((link) => link[2] === id).map((link) => link[3]);
    const lines = node.values.map(([name, value]) => `${name}: ${value}`);
    const label = `${node.title}, ${node.class}. ${lines.join("; ")}`;
    const group = drawn("g", { tabindex: 0, role: "img", "aria-label": cut(label, 600), "data-node": id });
    group.append(drawn("rect", { class: "node", x, y, width: w, height: h, rx: 8 }),
      drawn("text", { class: "title", x: x + 12, y: y + 21 }, cut(node.title, Math.floor((w - 20) / 9.6))));
    incoming.forEach((name, row) => {
      group.append(drawn("circle", { cx: x, cy: y + TITLE + ROW * (row + 0.6), r: 4, fill: "#888" }),
        drawn("text", { class: "name", x: x + 12, y: y + TITLE + ROW * (row + 0.8) }, name));
    });
    let row = incoming.length;
    const space = Math.floor((h - TITLE - 16) / ROW);
    for (const [name, value] of node.values) {
      const letters = Math.floor((w - 20) / 8.6);
      const pieces = wrap(`${name}: ${value}`, letters, Math.max(1, Math.min(5, space - row)));
      for (const piece of pieces) {
        if (row >= space) break;
        group.append(drawn("text", { x: x + 12, y: y + TITLE + ROW * (row + 0.8) }, piece));
        row += 1;
      }
    }
    group.append(drawn("text", { class: "class", x: x + 12, y: y + h - 8 }, `${id} ${node.class}`));
    const light = (on) => {
      group.classList.toggle("lit", on);
      wires.forEach(({ from, to, wire }) => { if (from === id || to === id) wire.classList.toggle("lit", on); });
    };
    const tell = (at) => { light(true); tip(node, id, at); };
    group.addEventListener("mousemove", (event) => tell([event.clientX, event.clientY]));
    group.addEventListener("focus", () => { const r = group.getBoundingClientRect(); tell([r.left + 20, r.bottom]); });
    for (const end of ["mouseleave", "blur"]) group.addEventListener(end, () => { light(false); $("tip").hidden = true; });
    return group;
  }

  function wrap(text, letters, most) {
    const pieces = [];
    while (text && pieces.length < most) {
      const last = pieces.length === most - 1;
      pieces.push(last ? cut(text, letters) : text.slice(0, letters));
      text = text.slice(letters);
    }
    return pieces;
  }

  function tip(node, id, [x, y]) {
    const box = $("tip");
    box.replaceChildren(element("b", {}, node.title), element("div", { class: "note" }, `${node.class}, node ${id}`),
      ...node.values.map(([name, value]) => element("div", {}, `${name}: ${cut(value, 500)}`)));
    box.hidden = false;
    box.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - box.offsetWidth - 8))}px`;
    box.style.top = `${Math.max(4, Math.min(y + 14, innerHeight - box.offsetHeight - 8))}px`;
  }

  function zoom(svg, frame, width, height) {
    let scale = 0.5;
    const set = (value) => {
      scale = Math.min(2, Math.max(0.05, value));
      svg.setAttribute("width", width * scale);
      svg.setAttribute("height", height * scale);
      frame.style.height = `${Math.min(innerHeight * 0.8, height * scale + 20)}px`;
    };
    const fit = () => set(frame.clientWidth / width);
    const button = (text, label, act) => element("button", { type: "button", "aria-label": label, onclick: act }, text);
    set(0.5);
    return element("div", { class: "buttons" },
      button("−", "Smaller", () => set(scale / 1.3)), button("+", "Larger", () => set(scale * 1.3)), button("Fit", "Fit the graph into the page", fit));
  }

  // --- schedules ----------------------------------------------------------------------------------

  const roleName = (role) => `${role.charAt(0).toUpperCase()}${role.slice(1)} pass`;

  function schedules(target) {
    const host = element("div");
    target.passes.forEach((pass) => {
      const denoise = pass.denoise === null ? "" : `, denoising ${pass.denoise}`;
      const figure = element("figure", { style: "margin:0" },
        element("h3", {}, `${roleName(pass.role)}: ${pass.width}×${pass.height}, ${pass.sampler}, ${pass.scheduler}, ${count(pass.steps, "step")}${denoise}`),
        element("p", { class: "note" }, `${pass.checkpoint} (${pass.architecture})`));
      const plot = element("div", { class: "plot", role: "img", "aria-label":
        `Sigmas from ${pass.sigmas[0]?.toFixed(3)} to ${pass.sigmas.at(-1)?.toFixed(3)} in ${pass.sigmas.length} values` });
      figure.append(plot, bars(pass), element("details", {}, element("summary", {}, "The sigmas as numbers"),
        element("pre", {}, pass.sigmas.map((sigma) => sigma.toPrecision(7)).join(" "))));
      host.append(figure);
      requestAnimationFrame(() => sigmaPlot(plot, pass));
    });
    return host;
  }

  function sigmaPlot(host, pass) {
    if (pass.sigmas.length < 2) return;
    const text = getComputedStyle(document.body).color;
    const line = getComputedStyle(document.querySelector("a") || document.body).color;
    const axis = { stroke: text, grid: { stroke: "#8884" }, ticks: { stroke: "#8888" } };
    new uPlot({
      width: Math.max(280, host.clientWidth - 4), height: 190, cursor: { drag: { x: false } },
      scales: { x: { time: false } },
      axes: [{ ...axis, label: "step", incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] }, { ...axis, label: "sigma" }],
      series: [{ label: "step" }, { label: "sigma", stroke: line, width: 2, points: { show: pass.sigmas.length < 80 } }],
    }, [pass.sigmas.map((_, index) => index), pass.sigmas], host);
  }

  function bars(pass) {
    const host = element("div", { class: "bars" });
    for (const { title, calls, first, last } of pass.windows) {
      const svg = drawn("svg", { viewBox: `0 0 ${Math.max(calls, 1)} 1`, preserveAspectRatio: "none", role: "img" });
      const words = first === null ? "does not act" : `acts in model calls ${first + 1} to ${last + 1} of ${calls}`;
      svg.setAttribute("aria-label", words);
      if (first !== null) svg.append(drawn("rect", { x: first, y: 0, width: last - first + 1, height: 1 }));
      host.append(element("div", { class: "bar" }, element("span", {}, title, element("span", { class: "note" }, ` ${words}`)), svg));
    }
    return host;
  }

  // --- everything of a view -----------------------------------------------------------------------

  function column(view, name) {
    const target = view.targets[name];
    const section = element("section", { "aria-labelledby": `${name}-title`, "data-target": name },
      element("h2", { id: `${name}-title` }, view.refusedAlike ? "Answer" : NAMES[name]), verdict(name, target));
    if (!view.refusedAlike) section.querySelector("h2").after(element("p", { class: "note" }, NOTES[name]));
    const told = element("ul", { class: "plain" });
    target.problems.forEach((item) => told.append(said(item, "problem", view.fields)));
    (target.warnings || []).forEach((item) => told.append(said(item, "warning", view.fields)));
    section.append(told);
    if (!target.graph) {
      section.append(element("p", { class: "note" }, "Nothing is run until what is refused is changed; a click on a field shows it in the request."));
      return section;
    }
    section.append(element("div", { class: "buttons" },
      element("button", { type: "button", "data-act": "workflow", onclick: () => save(`${name}-workflow.json`, target.workflow) }, "Download for ComfyUI's editor"),
      element("button", { type: "button", "data-act": "graph", onclick: () => save(`${name}-graph.json`, target.graph) }, "Download graph (API)"),
      element("button", { type: "button", "data-act": "copy", onclick: (event) => copyJob(event, view, name) }, "Copy as RunPod job")));
    return section;
  }

  function graphSection(target, name) {
    return element("section", { "aria-labelledby": `${name}-graph` },
      element("h2", { id: `${name}-graph` }, `Graph: ${NAMES[name].toLowerCase()}`),
      graph(target, name),
      element("details", {}, element("summary", {}, "The graph as text, one line a node"), element("pre", {}, target.text)));
  }

  async function copyJob(event, view, name) {
    const asked = shown || view.job || { payload: view.request };
    const job = { input: {
      api: { method: "POST", endpoint: view.endpoint }, payload: asked.payload,
      options: { ...asked.options, fidelity: name },
    } };
    const button = event.currentTarget, before = button.textContent;
    try {
      await navigator.clipboard.writeText(JSON.stringify(job, null, 1));
      button.textContent = "Copied";
    } catch {
      save("job.json", job);
      button.textContent = "Saved: the clipboard is closed to this page";
    }
    setTimeout(() => { button.textContent = before; }, 2500);
  }

  function show(view) {
    const result = $("result");
    const usable = Object.values(view.targets).find((target) => target.graph);
    const refusals = Object.values(view.targets).map((target) => JSON.stringify(target.problems));
    view.refusedAlike = !usable && new Set(refusals).size === 1;
    const names = Object.keys(view.targets).slice(0, view.refusedAlike ? 1 : undefined);
    result.replaceChildren(
      element("div", { class: names.length > 1 ? "two" : "one" }, ...names.map((name) => column(view, name))),
      element("section", { "aria-labelledby": "fields-title" },
        element("h2", { id: "fields-title" }, `Request to ${view.endpoint}`), fieldTable(view)));
    if (view.run) result.prepend(run(view.run));
    for (const [name, target] of Object.entries(view.targets)) {
      if (target.graph) result.append(graphSection(target, name));
    }
    if (usable && usable.passes.length) {
      result.append(element("section", { "aria-labelledby": "schedule-title" },
        element("h2", { id: "schedule-title" }, "Schedule of each pass"), schedules(usable)));
    }
    if (usable && usable.infotexts.length) {
      result.append(element("section", { "aria-labelledby": "info-title" },
        element("h2", { id: "info-title" }, "Infotext that is written"),
        ...usable.infotexts.map((text) => element("pre", {}, text))));
    }
  }

  /** What came out of a run that the page was written after. */
  function run(made) {
    const stages = Object.entries(made.times || {}).map(([name, ms]) => `${name} ${ms} ms`).join(", ");
    return element("section", { "aria-labelledby": "run-title" },
      element("h2", { id: "run-title" }, "Pictures"),
      element("p", { class: "note" }, [made.note, made.seconds ? `answered in ${made.seconds} s` : "", stages].filter(Boolean).join("; ")),
      element("div", { class: "pictures" }, ...made.pictures.map(({ src, caption }) =>
        element("figure", {}, element("a", { href: src }, element("img", { src, alt: caption })), element("figcaption", {}, cut(caption, 110))))));
  }

  // --- a live server -------------------------------------------------------------------------------

  /** The job in the field: a RunPod job, its input, a payload, or an infotext. */
  function asked() {
    const text = $("request").value.trim();
    let value;
    try {
      value = JSON.parse(text);
    } catch (error) {
      if (/^\s*[[{"]/.test(text)) throw new Error(`The request is not JSON: ${error.message}`);
      value = { infotext: text };
    }
    const input = value && typeof value === "object" && value.input ? value.input : value;
    const wrapped = input && typeof input === "object" && "payload" in input;
    const payload = wrapped ? input.payload : input;
    const chosen = $("endpoint").value || (wrapped && input.api?.endpoint) || endpointOf(payload);
    return restored({ endpoint: chosen, payload, options: (wrapped && input.options) || {} });
  }

  /** The endpoint that a payload belongs to, told by its fields. */
  function endpointOf(payload) {
    const has = (name) => payload && typeof payload === "object" && name in payload;
    return ENDPOINTS.find(([, names]) => names.every(has))[0];
  }

  /** Pictures that stand shortened in the field, put back. */
  function restored(value) {
    if (typeof value === "string") return pictures.get(value) ?? value;
    if (Array.isArray(value)) return value.map(restored);
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, restored(item)]));
    }
    return value;
  }

  async function post(path, body) {
    const answer = await fetch(path, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
    const text = await answer.text();
    let value = text;
    try { value = JSON.parse(text); } catch { /* told as text */ }
    if (!answer.ok) throw new Error(told(value) || `${answer.status} ${answer.statusText}`);
    return value;
  }

  function told(value) {
    if (typeof value === "string") return value;
    const detail = value?.errors || value?.detail || value?.error;
    return typeof detail === "string" ? detail : JSON.stringify(detail ?? value);
  }

  async function translate() {
    try {
      shown = asked();
      say("Translating…");
      show(await post("page/view", shown));
      say("");
      $("result").focus({ preventScroll: true });
      return true;
    } catch (error) {
      say(error.message, true);
      return false;
    }
  }

  async function runIt() {
    if (!(await translate())) return;
    const [run, stop] = [$("run"), $("interrupt")];
    run.disabled = true; stop.disabled = false;
    $("pictures").replaceChildren();
    $("progress").hidden = false; $("progress").removeAttribute("value");
    say("Running…");
    let going = true;
    const watching = watch(() => going);
    const begun = performance.now();
    try {
      const answer = await post(shown.endpoint.replace(/^\//, ""), shown.payload);
      const seconds = ((performance.now() - begun) / 1000).toFixed(1);
      const images = answer.images || (answer.image ? [answer.image] : []);
      let infotexts = [];
      try { infotexts = JSON.parse(answer.info).infotexts || []; } catch { /* other endpoints have none */ }
      images.forEach((data, index) => $("pictures").append(figure(data, infotexts[index] || `picture ${index + 1}`)));
      say(`Answered in ${seconds} s: ${count(images.length, "picture")}.`);
    } catch (error) {
      say(error.message, true);
    } finally {
      going = false;
      await watching;
      run.disabled = false; stop.disabled = true;
      $("progress").hidden = true; $("preview").hidden = true;
    }
  }

  function figure(data, caption) {
    const kind = data.startsWith("/9j/") ? "jpeg" : data.startsWith("UklG") ? "webp" : "png";
    const src = `data:image/${kind};base64,${data}`;
    return element("figure", {}, element("a", { href: src, download: `picture.${kind}` }, element("img", { src, alt: cut(caption, 200) })),
      element("figcaption", {}, cut(caption, 90)));
  }

  async function watch(going) {
    while (going()) {
      try {
        const now = await (await fetch("sdapi/v1/progress?skip_current_image=false")).json();
        if (!going()) break;
        if (now.progress > 0) $("progress").value = now.progress;
        const state = now.state || {};
        if (state.sampling_steps) say(`Running: step ${state.sampling_step} of ${state.sampling_steps}`);
        if (now.current_image) {
          $("preview").src = `data:image/${now.current_image.startsWith("/9j/") ? "jpeg" : "png"};base64,${now.current_image}`;
          $("preview").hidden = false;
        }
      } catch { /* the next look may succeed */ }
      await new Promise((done) => setTimeout(done, 250));
    }
  }

  async function interrupt() {
    try {
      await post("sdapi/v1/interrupt", {});
      say("Interrupting…");
    } catch (error) {
      say(error.message, true);
    }
  }

  async function take(file) {
    try {
      if (file.type === "application/json" || file.name.endsWith(".json")) {
        write(JSON.parse(await file.text()));
      } else {
        const { info } = await post("sdapi/v1/png-info", { image: await dataUrl(file) });
        if (!info) throw new Error(`${file.name} holds no infotext`);
        $("request").value = info;
      }
      say(`Taken from ${file.name}.`);
      await translate();
    } catch (error) {
      say(error.message, true);
    }
  }

  /** Write a request into the field, its pictures shortened. */
  function write(value) {
    pictures = new Map();
    const short = (item) => {
      if (typeof item === "string" && item.length > 2000) {
        const name = `(picture ${pictures.size + 1}, ${item.length} characters)`;
        pictures.set(name, item);
        return name;
      }
      if (Array.isArray(item)) return item.map(short);
      if (item && typeof item === "object") return Object.fromEntries(Object.entries(item).map(([k, v]) => [k, short(v)]));
      return item;
    };
    $("request").value = JSON.stringify(short(value), null, 1);
  }

  function dataUrl(file) {
    return new Promise((done, failed) => {
      const reader = new FileReader();
      reader.onload = () => done(reader.result);
      reader.onerror = () => failed(new Error(`${file.name} cannot be read`));
      reader.readAsDataURL(file);
    });
  }

  function live() {
    $("ask").hidden = false;
    $("endpoint").append(...ENDPOINTS.map(([path]) => element("option", { value: path }, path)).reverse());
    write(EXAMPLE);
    $("show").addEventListener("click", translate);
    $("run").addEventListener("click", runIt);
    $("interrupt").addEventListener("click", interrupt);
    $("request").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) translate();
    });
    $("request").addEventListener("paste", (event) => {
      const text = event.clipboardData.getData("text");
      if (text.length < 5000) return; // a long one holds pictures, which are shortened
      try { write(JSON.parse(text)); event.preventDefault(); } catch { /* pasted as it is */ }
    });
    $("picture").addEventListener("change", (event) => { if (event.target.files[0]) take(event.target.files[0]); });
    const drop = $("drop");
    for (const name of ["dragover", "dragenter"]) drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
    for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));
    drop.addEventListener("drop", (event) => {
      event.preventDefault();
      if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
    });
  }

  const view = JSON.parse($("view").textContent);
  if (view) show(view);
  else live();
})();
