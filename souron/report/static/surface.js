"use strict";
// The slices and the surface of a volume, drawn by NiiVue from what lies in the page.
(async () => {
  const page = document.documentElement;
  if (window.top !== window) page.classList.add("framed"); // what stands around it tells the rest
  const canvas = document.getElementById("view");
  /** @returns {any} an element of the template */
  const byId = (id) => document.getElementById(id);
  const text = (id) => byId(id).textContent.trim();
  const bytes = (id) => Uint8Array.from(atob(text(id)), (letter) => letter.charCodeAt(0));
  const told = JSON.parse(text("about"));
  try {
    const view = new niivue.Niivue({
      isRadiologicalConvention: true,
      sagittalNoseLeft: true,
      backColor: [0, 0, 0, 1],
      show3Dcrosshair: true,
      crosshairWidth: 0.5,
      multiplanarShowRender: niivue.SHOW_RENDER.ALWAYS,
      multiplanarLayout: niivue.MULTIPLANAR_TYPE.GRID,
      meshThicknessOn2D: 0.7,
      dragAndDropEnabled: false,
      logLevel: "error",
    });
    await view.attachToCanvas(canvas);
    view.drawImage3D = () => {}; // the surface alone, not the volume around it
    const volume = await niivue.NVImage.loadFromBase64({ base64: text("volume"), name: "ct.nii.gz" });
    view.addVolume(volume);
    const mask = await niivue.NVImage.loadFromBase64({
      base64: text("mask"), name: "mask.nii.gz", colormap: "red", opacity: 0.35, cal_min: 0.5, cal_max: 1,
    });
    view.addVolume(mask);
    const shown = told.labels.map(() => true);
    const showLabels = () => { // each number of the mask in its colour
      const colours = [[0, 0, 0], ...told.labels];
      mask.setColormapLabel({
        R: colours.map((colour) => colour[0]), G: colours.map((colour) => colour[1]),
        B: colours.map((colour) => colour[2]), A: [0, ...shown.map((wish) => (wish ? 255 : 0))],
        I: [...colours.keys()], labels: colours.map(() => ""),
      });
      view.updateGLVolume();
    };
    for (const [number, colour] of told.meshes.entries()) {
      view.addMesh(await niivue.NVMesh.loadFromFile({
        file: new File([bytes("mesh" + (number + 1))], "surface.ply"), gl: view.gl,
        name: "surface.ply", rgba255: [...colour, 255],
      }));
    }
    view.setSliceType(view.sliceTypeMultiplanar);
    view.setRenderAzimuthElevation(200, 15);
    const showWindow = () => {
      const [centre, width] = byId("window").value.split(",").map(Number);
      volume.cal_min = centre - width / 2;
      volume.cal_max = centre + width / 2;
      view.updateGLVolume();
    };
    byId("window").addEventListener("change", showWindow);
    byId("opacity").addEventListener("input", (event) => {
      view.setOpacity(1, Number(event.target.value));
    });
    for (const box of /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll("input.label"))) {
      box.addEventListener("change", () => {
        const number = Number(box.value) - 1;
        shown[number] = box.checked;
        view.meshes[number].visible = box.checked;
        showLabels();
      });
    }
    view.onLocationChange = (place) => {
      const [right, front, head] = place.mm;
      const value = place.values.length ? place.values[0].value : NaN;
      byId("place").textContent = told.place
        .replace("{left}", (-right).toFixed(1)).replace("{back}", (-front).toFixed(1))
        .replace("{head}", head.toFixed(1)).replace("{value}", Math.round(value));
    };
    if (told.labels.length) showLabels();
    showWindow();
    view.createOnLocationChange();
    page.dataset.state = "ready";
  } catch (error) {
    byId("place").textContent = told.failed + " " + error;
    page.dataset.state = "failed";
  }
})();
