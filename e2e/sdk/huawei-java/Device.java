import com.huaweicloud.sdk.iot.device.IoTDevice;
import com.huaweicloud.sdk.iot.device.client.DeviceClient;
import com.huaweicloud.sdk.iot.device.client.IotResult;
import com.huaweicloud.sdk.iot.device.client.listener.PropertyListener;
import com.huaweicloud.sdk.iot.device.client.requests.CommandRsp;
import com.huaweicloud.sdk.iot.device.client.requests.DeviceMessage;
import com.huaweicloud.sdk.iot.device.client.requests.ServiceProperty;
import com.huaweicloud.sdk.iot.device.client.requests.ShadowRequest;
import com.huaweicloud.sdk.iot.device.filemanager.FileMangerListener;
import com.huaweicloud.sdk.iot.device.filemanager.request.OpFileStatusRequest;
import com.huaweicloud.sdk.iot.device.filemanager.request.UrlRequest;
import com.huaweicloud.sdk.iot.device.filemanager.response.UrlResponse;
import com.huaweicloud.sdk.iot.device.ota.OTAListener;
import com.huaweicloud.sdk.iot.device.ota.OTAPackage;
import com.huaweicloud.sdk.iot.device.ota.OTAPackageV2;
import com.huaweicloud.sdk.iot.device.ota.OTAQueryInfo;
import com.huaweicloud.sdk.iot.device.transport.ActionListener;
import java.io.File;
import java.io.FileInputStream;
import java.io.InputStream;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.cert.CertificateFactory;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** A device on Huawei's own SDK. It takes its settings from the environment and prints a JSON line per step. */
public class Device {
    private static SSLContext trust;
    private static final CountDownLatch stop = new CountDownLatch(1);

    public static void main(String[] args) throws Exception {
        File ca = new File(System.getenv("IOTDA_CA_FILE"));
        trust = trust(ca);
        String id = System.getenv("IOTDA_DEVICE_ID");
        IoTDevice device = new IoTDevice(System.getenv("IOTDA_SERVER_URI"), id, System.getenv("IOTDA_DEVICE_SECRET"), ca);
        listen(device);
        int result = device.init();
        step("connected", Integer.toString(result));
        if (result != 0) {
            System.exit(1);
        }
        work(device);
        boolean stopped = stop.await(60, TimeUnit.SECONDS);
        device.getClient().close();
        step("closed", Boolean.toString(stopped));
        System.exit(stopped ? 0 : 1);
    }

    private static void listen(IoTDevice device) {
        DeviceClient client = device.getClient();
        client.setCommandListener((requestId, serviceId, name, paras) -> {
            step("command", serviceId + " " + name + " " + paras);
            client.respondCommand(requestId, new CommandRsp(0, Collections.singletonMap("left", 1)));
            if (name.equals("stop")) {
                stop.countDown();
            }
        });
        client.setPropertyListener(new PropertyListener() {
            @Override
            public void onPropertiesSet(String requestId, List<ServiceProperty> services) {
                step("set", services.get(0).getServiceId() + " " + services.get(0).getProperties());
                client.respondPropsSet(requestId, IotResult.SUCCESS);
            }

            @Override
            public void onPropertiesGet(String requestId, String serviceId) {
                step("get", serviceId);
                client.respondPropsGet(requestId, Collections.singletonList(property("Battery", "batteryLevel", 42)));
            }
        });
        client.setDeviceMessageListener(message -> step("message", message.getContent()));
        client.setShadowListener((requestId, shadow) -> {
            StringBuilder all = new StringBuilder();
            shadow.forEach(s -> all.append(s.getServiceId()).append(' ').append(s.getReported().getProperties()).append(' '));
            step("shadow", all.toString().trim());
        });
        device.getTimeSyncService().setListener((sent, received, answered) ->
            step("time", Boolean.toString(Math.abs(System.currentTimeMillis() - answered) < 60000)));
        device.getOtaService().setOtaListener(new OTAListener() {
            @Override
            public void onQueryVersion(OTAQueryInfo query) {
                device.getOtaService().reportVersion("v1");
                step("version", "v1");
            }

            @Override
            public void onNewPackage(OTAPackage offer) {
                step("package", "of the older kind");
            }

            @Override
            public void onNewPackageV2(OTAPackageV2 offer) {
                new Thread(() -> {
                    try {
                        byte[] body = call("GET", offer.getUrl(), null);
                        step("package", offer.getVersion() + " " + body.length + " " + hex(body).equals(offer.getSign()));
                        device.getOtaService().reportOtaStatus(0, 100, offer.getVersion(), null);
                    } catch (Exception e) {
                        step("package", e.toString());
                    }
                }).start();
            }
        });
        device.getFileManagerService().setFileMangerListener(new FileMangerListener() {
            @Override
            public void onUploadUrl(UrlResponse grant) {
                new Thread(() -> {
                    try {
                        call("PUT", grant.getUrl(), "hello".getBytes(StandardCharsets.UTF_8));
                        OpFileStatusRequest done = new OpFileStatusRequest();
                        done.setObjectName(grant.getObjectName());
                        done.setResultCode(0);
                        done.setStatusCode(200);
                        device.getFileManagerService().reportUploadFileStatus(done, quiet());
                        UrlRequest ask = new UrlRequest();
                        ask.setFileName("log.txt");
                        device.getFileManagerService().getDownloadUrl(ask, quiet());
                    } catch (Exception e) {
                        step("upload", e.toString());
                    }
                }).start();
            }

            @Override
            public void onDownloadUrl(UrlResponse grant) {
                new Thread(() -> {
                    try {
                        step("download", new String(call("GET", grant.getUrl(), null), StandardCharsets.UTF_8));
                    } catch (Exception e) {
                        step("download", e.toString());
                    }
                }).start();
            }
        });
    }

    private static void work(IoTDevice device) throws Exception {
        DeviceClient client = device.getClient();
        client.reportProperties(Collections.singletonList(property("Battery", "batteryLevel", 80)), told("reported"));
        client.reportCompressedProperties(Collections.singletonList(property("Connectivity", "dailyActivityTime", 57)), told("compressed"));
        client.reportDeviceMessage(new DeviceMessage("hello"), told("sent"));
        device.getTimeSyncService().requestTimeSync();
        UrlRequest ask = new UrlRequest();
        ask.setFileName("log.txt");
        Map<String, Object> attributes = new HashMap<>();
        attributes.put("size", 5);
        ask.setFileAttributes(attributes);
        device.getFileManagerService().getUploadUrl(ask, quiet());
        ShadowRequest shadow = new ShadowRequest();
        shadow.setDeviceId(client.getDeviceId());
        client.getShadow(shadow, quiet());
    }

    private static ServiceProperty property(String service, String name, Object value) {
        ServiceProperty p = new ServiceProperty();
        p.setServiceId(service);
        p.setProperties(new HashMap<>(Collections.singletonMap(name, value)));
        return p;
    }

    private static ActionListener told(String what) {
        return new ActionListener() {
            @Override
            public void onSuccess(Object context) {
                step(what, "");
            }

            @Override
            public void onFailure(Object context, Throwable why) {
                step(what, String.valueOf(why));
            }
        };
    }

    private static ActionListener quiet() {
        return new ActionListener() {
            @Override
            public void onSuccess(Object context) { }

            @Override
            public void onFailure(Object context, Throwable why) {
                step("failed", String.valueOf(why));
            }
        };
    }

    private static byte[] call(String method, String address, byte[] body) throws Exception {
        HttpsURLConnection c = (HttpsURLConnection) new URL(address).openConnection();
        c.setSSLSocketFactory(trust.getSocketFactory());
        c.setRequestMethod(method);
        if (body != null) {
            c.setDoOutput(true);
            c.getOutputStream().write(body);
        }
        try (InputStream in = c.getInputStream()) {
            return in.readAllBytes();
        }
    }

    private static SSLContext trust(File ca) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null);
        try (InputStream in = new FileInputStream(ca)) {
            store.setCertificateEntry("root", CertificateFactory.getInstance("X.509").generateCertificate(in));
        }
        TrustManagerFactory managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        managers.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, managers.getTrustManagers(), null);
        return context;
    }

    private static String hex(byte[] body) throws Exception {
        StringBuilder text = new StringBuilder();
        for (byte b : MessageDigest.getInstance("SHA-256").digest(body)) {
            text.append(String.format("%02x", b));
        }
        return text.toString();
    }

    private static synchronized void step(String name, String text) {
        System.out.println("{\"step\":\"" + name + "\",\"text\":\"" + text.replace("\\", "\\\\").replace("\"", "\\\"") + "\"}");
    }
}
