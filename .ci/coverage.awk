# Counts each physical line once, and leaves out the test module at the end of a file: from a `#[cfg(test)]` in
# the first column that is followed by `mod tests` on.
/^SF:/ { file = substr($0, 4); cut = 0; n = 0; marked = 0
         while ((getline text < file) > 0) {
           n++
           if (marked && text ~ /^mod tests/) { cut = marked; break }
           marked = (text ~ /^#\[cfg\(test\)\]/) ? n : 0
         }
         close(file) }
/^DA:/ { split(substr($0, 4), at, ",")
         if (cut && at[1] + 0 >= cut) next
         key = file SUBSEP at[1]
         if (!(key in seen)) { seen[key] = 0; lines[file]++; all++ }
         if (at[2] + 0 > 0 && !seen[key]) { seen[key] = 1; hit[file]++; hits++ } }
END { for (file in lines) {
        name = file; sub(root, "", name)
        printf "%6.2f%% %5d/%-5d %s\n", 100 * hit[file] / lines[file], hit[file], lines[file], name | "sort -k3"
      }
      close("sort -k3")
      if (!all) { print "coverage: no line was measured"; exit 1 }
      percent = 100 * hits / all
      printf "line coverage: %.2f%% (%d/%d), floor %s%%\n", percent, hits, all, floor
      if (percent < floor) exit 1 }
