import { Capsa } from "capsa";

await using box = await Capsa.open({ rootfs: "host" });
console.log((await box.exec("python3 -c 'print(6 * 7)'")).stdout);
