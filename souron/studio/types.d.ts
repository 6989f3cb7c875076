// Types of the studio's scripts, for `deno check` alone: nothing of this file reaches a browser.

// a canvas that was asked for no other context than this one, which it then always has
export type Canvas = { getContext(kind: "2d"): CanvasRenderingContext2D } & HTMLCanvasElement;

// what an interactive's script gets, see begin() of interactives/common.js
export interface Tools {
  words: Record<string, any>; // texts in the page's language
  one(selector: string): any;
  colour(name: string): string;
  recorded: boolean; // in an exported file, which asks nothing
  kept: Record<string, any>; // a script's own state, in the link
  field(name: string): any;
  canvas(name: string): Canvas;
  plot(name: string): SVGSVGElement;
  part(name: string): any;
  say(text: string): void;
  on(does: string, act: (event: MouseEvent) => unknown): void;
  show(place: string, text: string): void;
  repaint(draw: () => void): void;
  ask(what: object): Promise<any>; // null where a newer question was asked, or nothing answers
  keep(more: object): void;
  player(draw: (place: number) => void): { load(count: number, film?: boolean): void; go(place: number): void; stop(): void };
  pace?: number; // milliseconds of a frame
}
export type Start = (root: HTMLElement, tools: Tools) => Promise<void>;

export interface Exported {
  answers: [object, object][];
  settings: Record<string, unknown[]>;
  start: Start;
}

// plots of interactives/plot.js
export type Point = [number, number];
export interface Box { x: number; y: number; width: number; height: number }
export interface Axis {
  domain: number[];
  label?: string;
  log?: boolean;
  format?: (value: number) => string;
  ticks?: number;
  values?: number[];
}
export interface Plot { x: any; y: any; body: any; inner: number[] } // scales, and what lines are appended to
export type Legend = any[][]; // text, colour, dashes

// libraries that are kept as others wrote them
export const d3: any, Zip: any, ZipPassThrough: any;

declare global {
  const niivue: any;
  var Annotorious: any;

  // the audio thread, where recorder.js runs
  class AudioWorkletProcessor {
    readonly port: MessagePort;
  }
  const registerProcessor: (name: string, processor: typeof AudioWorkletProcessor) => void;

  // what stands on each page, see layout.py
  interface Document {
    getElementById(id: "head" | "page" | "wrong"): HTMLElement;
  }

  // what is pressed or typed into is an element
  interface UIEvent {
    readonly target: HTMLInputElement;
  }

  // what htmx tells
  interface DocumentEventMap {
    "htmx:response:error": CustomEvent;
    "htmx:error": CustomEvent;
  }
}
