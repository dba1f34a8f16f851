import ReactMarkdown, { type Components } from "react-markdown";
import remarkGfm from "remark-gfm";
import { isSafeUrl } from "../../engine/actions";
import styles from "./markdown.module.css";

/** An image may only come from this server or be written into the text: the page's policy refuses others anyway. */
function isOwnImage(url: string): boolean {
  return (
    /^data:image\/(png|jpeg|gif|webp);base64,/i.test(url) || (url.startsWith("/") && !url.startsWith("//"))
  );
}

const COMPONENTS: Components = {
  a: ({ href, children }) =>
    href && isSafeUrl(href) ? (
      <a href={href} rel="noopener noreferrer nofollow" target={href.startsWith("#") ? undefined : "_blank"}>
        {children}
      </a>
    ) : (
      <span>{children}</span>
    ),
  img: ({ src, alt }) =>
    typeof src === "string" && isOwnImage(src) ? <img src={src} alt={alt ?? ""} /> : <span>{alt}</span>,
  // The page's title is its only first heading.
  h1: ({ children }) => <h2>{children}</h2>,
  table: ({ children }) => (
    <div className={styles.scroll}>
      <table>{children}</table>
    </div>
  ),
};

/** Markdown as React elements; HTML in it stays text. */
export default function Rendered({ source }: { source: string }) {
  return (
    <div className={styles.markdown}>
      <ReactMarkdown
        remarkPlugins={[remarkGfm]}
        components={COMPONENTS}
        urlTransform={(url) => (isSafeUrl(url) || isOwnImage(url) ? url : "")}
      >
        {source}
      </ReactMarkdown>
    </div>
  );
}
