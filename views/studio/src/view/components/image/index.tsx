import { IconPhoto } from "@tabler/icons-react";
import { useState } from "react";
import { number, optionalText, text, type ViewComponent, type ViewProps } from "../contract";
import { Empty } from "../Empty";
import styles from "./image.module.css";
import { imageSource } from "./source";

function Image({ props }: ViewProps) {
  const source = imageSource(props.source);
  const [failed, setFailed] = useState<string | null>(null);
  const caption = optionalText(props.caption);
  if (!source) return <Empty Icon={IconPhoto} text={text(props.empty)} />;
  if (failed === source) return <Empty Icon={IconPhoto} text="This image cannot be shown." />;
  return (
    <figure className={styles.figure}>
      <img
        className={styles.image}
        src={source}
        alt={text(props.alt)}
        style={{ maxHeight: number(props.max_height) ?? 480 }}
        onError={() => setFailed(source)}
      />
      {caption && <figcaption className={styles.caption}>{caption}</figcaption>}
    </figure>
  );
}

export const image: ViewComponent = { type: "image", Component: Image, skeleton: 240 };
