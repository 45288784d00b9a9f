import React from "react";

export function View({ total }: { total: number }) {
  return <p className="total">{total}</p>;
}
