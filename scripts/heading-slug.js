/**
 * The anchor that GitHub gives a heading; the site of the docs gives the same.
 * @param {string} heading its text, or its Markdown
 */
export const headingSlug = (heading) =>
  heading
    .trim()
    .toLowerCase()
    .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replace(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');
