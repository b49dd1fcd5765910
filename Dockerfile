# sdq with its own engine, on the processor. For NVIDIA GPUs: examples/docker/Dockerfile.
#   docker build -t sdq .
#   docker run --rm -v "$PWD:/work" -v sdq-data:/data sdq run
FROM node:24-bookworm-slim
# A version (sdq@0.1.0), or a tarball's address.
ARG SDQ=sdq
RUN npm install --global --no-audit --no-fund "$SDQ" sharp && npm cache clean --force
ENV SDQ_DATA_DIR=/data
WORKDIR /work
ENTRYPOINT ["sdq"]
CMD ["--help"]
