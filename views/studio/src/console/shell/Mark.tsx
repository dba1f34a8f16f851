import classes from "./Shell.module.css";

/** The product's name and sign: ten bars folded into one. */
export function Mark() {
  return (
    <span className={classes.mark}>
      <svg width="24" height="24" viewBox="0 0 24 24" aria-hidden="true">
        <rect width="24" height="24" rx="7" fill="var(--tf-accent)" />
        <path d="M6 8.2h12M12 8.2v9.3" stroke="#fff" strokeWidth="2.4" strokeLinecap="round" fill="none" />
        <path
          d="M6.6 12.4 9 14.8M17.4 12.4 15 14.8"
          stroke="#fff"
          strokeWidth="2"
          strokeLinecap="round"
          opacity="0.65"
        />
      </svg>
      Tenfold
    </span>
  );
}
